"""What experiments of several kinds have in common."""

from typing import Any

from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError
from ldm_jax.train_step import power_ema
from ldm_jax.train_step.optimizer import Optim


def check_shared(experiment: Any, prefix: str = "") -> None:
    """Raises InputError for images of no size, averages to be kept of which there are none, and a
    setting that the optimizer has no use for."""
    optim = experiment.optim
    if experiment.data.image_size is None:
        raise InputError(f"{prefix}data.image_size is not set: expected a number of pixels")
    if optim.kind in ("lion", "adafactor") and optim.eps != Optim().eps:
        raise InputError(
            f"{prefix}optim.eps is {optim.eps} with {optim.kind}, which has none: expected "
            f"{Optim().eps}, its default"
        )
    every, widths = experiment.train.snapshot_every, experiment.optim.power_ema
    if bool(every) != bool(widths):
        raise InputError(
            f"{prefix}train.snapshot_every is {every} and {prefix}optim.power_ema {widths}: "
            "expected both or neither, since the one is how often the others are kept for good"
        )
    if len({power_ema.name(width) for width in widths}) < len(widths):
        raise InputError(
            f"{prefix}optim.power_ema is {widths}: expected widths that differ by 0.001 or more"
        )


def check_prior(experiment: Any) -> None:
    """Raises InputError where batches cannot be half of a subject and half of its class."""
    if not experiment.prior:
        return
    check_squares(experiment.data, "data.", "a subject with prior preservation")
    size = experiment.data.batch_size
    if size % 2:
        raise InputError(
            f"data.batch_size is {size}: expected an even number with prior.prompt, since half of "
            "a batch is of the class"
        )


def check_squares(data: Data, prefix: str, what: str) -> None:
    """Raises InputError for buckets where all images are squares."""
    if data.buckets:
        raise InputError(
            f"{prefix}buckets is {data.buckets}: expected 0, since {what} is trained on squares"
        )
