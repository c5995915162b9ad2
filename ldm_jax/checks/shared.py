"""What is asked of experiments of more than one kind."""

from typing import Any

from ldm_jax import config as c
from ldm_jax.errors import InputError
from ldm_jax.train_step import power_ema


def check_averages(experiment: Any, prefix: str = "") -> None:
    """Raises InputError where averages are to be kept for good of which there are none, and for a
    setting that the optimizer has no use for."""
    optim = experiment.optim
    if optim.kind in ("lion", "adafactor") and optim.eps != c.Optim().eps:
        raise InputError(
            f"{prefix}optim.eps is {optim.eps} with {optim.kind}, which has none: expected "
            f"{c.Optim().eps}, its default"
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


def check_squares(data: c.Data, prefix: str, what: str) -> None:
    """Raises InputError for buckets where all images are squares."""
    if data.buckets:
        raise InputError(
            f"{prefix}buckets is {data.buckets}: expected 0, since {what} is trained on squares"
        )


def check_divides(
    network: c.ConvolutionalAutoencoder | c.UNet | c.Classifier, name: str, prefix: str
) -> None:
    """Raises InputError unless the field `name` divides the channels of every level."""
    for channels in (mult * network.channels for mult in network.channel_mults):
        if channels % getattr(network, name):
            raise InputError(
                f"{prefix}{name} is {getattr(network, name)}: expected a divisor of {channels}, "
                f"the channels of a level ({prefix}channels times one of {prefix}channel_mults)"
            )
