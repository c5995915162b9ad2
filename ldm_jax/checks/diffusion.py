"""Whether a diffusion model, its first stage, its condition and its sampling go together."""

import dataclasses
import math

from ldm_jax import config as c
from ldm_jax.checks.condition import check_condition, conditions_of
from ldm_jax.checks.process import check_loss, check_process
from ldm_jax.data import buckets
from ldm_jax.diffusion import sampling, spacing
from ldm_jax.errors import InputError
from ldm_jax.experiments.shared import check_averages, check_squares
from ldm_jax.settings import check_divides


def check_diffusion(experiment: c.Experiment) -> None:
    """Raises InputError where the parts of the config cannot go together."""
    unet, size = experiment.model, experiment.data.image_size
    factor = experiment.first_stage.model.factor
    factor *= 2 ** (len(unet.channel_mults) - 1)
    check_averages(experiment)
    if size is None:
        raise InputError("data.image_size is not set: expected a number of pixels")
    if size % factor:
        raise InputError(
            f"data.image_size is {size}: expected a multiple of {factor}, the factor by which "
            f"first stage and UNet downsample, such as {math.ceil(size / factor) * factor}"
        )
    experiment.first_stage.check("first_stage.")
    _check_buckets(experiment, factor)
    check_divides(unet, "head_channels" if unet.head_channels else "num_heads", "model.")
    check_divides(unet, "norm_groups", "model.")
    _check_heads(experiment)
    if unet.positions and unet.channels % 4:
        raise InputError(
            f"model.channels is {unet.channels}: expected a multiple of 4, since model.positions "
            "tells attention rows and columns by sines and cosines"
        )
    scale = experiment.latent_scale
    if not isinstance(scale, str) and not 0 < scale < math.inf:
        raise InputError(f"latent_scale is {scale}: expected one, channels or a factor above 0")
    check_condition(experiment)
    check_process(experiment.diffusion)
    check_loss(experiment.loss, experiment.diffusion)
    # an eta of 0 was the default of every sampler once
    asked = dataclasses.replace(experiment.sampling, eta=experiment.sampling.eta or None)
    sampling.check_options(asked, lambda name: f"sampling.{name}")
    if asked.times:
        spacing.by_hand(asked.times, experiment.diffusion.steps)
    if not 1 <= experiment.sampling.steps <= experiment.diffusion.steps:
        raise InputError(
            f"sampling.steps is {experiment.sampling.steps}: expected 1 to diffusion.steps, "
            f"which is {experiment.diffusion.steps}"
        )


def _check_buckets(experiment: c.Experiment, factor: int) -> None:
    """Raises InputError for buckets that cannot be."""
    data = experiment.data
    if not data.buckets:
        return
    buckets.check(data.image_size, data.buckets, data.bucket_aspect, factor)
    for _, condition in conditions_of(experiment):
        if condition.square_only:
            name = type(condition).__name__
            check_squares(data, "data.", f"a model with the condition {name}")


def _check_heads(experiment: c.Experiment) -> None:
    """Raises InputError where heads cannot be shared out along the mesh's tensor axis."""
    unet, tensor = experiment.model, experiment.train.mesh.tensor
    widths = [mult * unet.channels for mult in unet.channel_mults]
    heads = [("model.num_heads", unet.num_heads)]
    if unet.head_channels:
        heads = [("model.head_channels", width // unet.head_channels) for width in widths]
    for prefix, condition in conditions_of(experiment):
        heads += condition.heads(prefix)
    for name, count in heads:
        if count % tensor:
            raise InputError(
                f"train.mesh.tensor is {tensor} and {name} makes {count} heads: expected a divisor "
                "of them, since a device has whole heads"
            )
