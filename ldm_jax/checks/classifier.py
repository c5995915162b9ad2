"""Whether a classifier can see the latents that it is to tell apart."""

from ldm_jax import config as c
from ldm_jax.checks.shared import check_averages, check_divides, check_squares
from ldm_jax.errors import InputError


def check_classifier(experiment: c.ClassifierExperiment) -> None:
    """Raises InputError where the classifier cannot see the latents that it is to tell apart."""
    check_averages(experiment)
    model, size = experiment.model, experiment.data.image_size
    factor = experiment.first_stage.model.factor
    check_squares(experiment.data, "data.", "a classifier")
    side, least = size // factor, 2 ** (len(model.channel_mults) - 1)
    if side % least:
        raise InputError(
            f"model.channel_mults has {len(model.channel_mults)} levels, for latents of a multiple "
            f"of {least} a side: expected fewer, since those of the diffusion model have {side}"
        )
    for name in ("head_channels", "norm_groups"):
        check_divides(model, name, "model.")
