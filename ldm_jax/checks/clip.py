"""Whether CLIP's towers can see images of a size, and be divided."""

import math

from ldm_jax import config as c
from ldm_jax.checks.shared import check_averages, check_squares
from ldm_jax.errors import InputError


def check_clip(experiment: c.CLIPExperiment) -> None:
    """Raises InputError where the towers cannot see images of this size, or be divided."""
    check_averages(experiment)
    model, size = experiment.model, experiment.data.image_size
    if size is None:
        raise InputError("data.image_size is not set: expected a number of pixels")
    check_squares(experiment.data, "data.", "CLIP")
    if size % model.patch:
        raise InputError(
            f"data.image_size is {size}: expected a multiple of model.patch {model.patch}, such as "
            f"{math.ceil(size / model.patch) * model.patch}"
        )
    for tower in ("vision", "text"):
        channels, heads = (getattr(model, f"{tower}_{name}") for name in ("channels", "heads"))
        if channels % heads:
            raise InputError(
                f"model.{tower}_heads is {heads}: expected a divisor of {channels}, "
                f"model.{tower}_channels"
            )
