"""Noise on what a model is told, where it is told its level, too."""

import numpy as np

from ldm_jax import runs
from ldm_jax.config import Condition, LowResolution, UnCLIP
from ldm_jax.errors import InputError
from ldm_jax.sampling.frames import seeds
from ldm_jax.sampling.takes import task_of
from ldm_jax.sampling.wanted import Request
from ldm_jax.types import Batch

# where none is given: of small images, as the model card of Stable Diffusion's upscaler suggests,
# and of embeddings, as diffusers
NOISE_LEVELS = {LowResolution: 20, UnCLIP: 0}


def how_noisy(level: int | None, trained: runs.Trained) -> int | None:
    """The noise of small images, 20 where not given, or of embeddings of images, 0 where not
    given; None where the model is not told.

    Raises:
        InputError: a level beyond the model's, or one for a model that is not told.
    """
    condition = task_of(trained.experiment)
    most = getattr(condition, "max_noise", None)
    if most is None and level is not None:
        raise InputError(
            f"--noise-level is {level}: leave it out, since the model is not told how noisy an "
            "image is"
        )
    if level is not None and not 0 <= level < most:
        raise InputError(f"--noise-level is {level}: expected 0 to {most - 1}, as in training")
    if most is None or level is not None:
        return level
    return min(NOISE_LEVELS[type(condition)], most - 1)


def noisy(told: Batch, request: Request, condition: Condition) -> Batch:
    """The same with noise on small images [num, h, w, 3] or embeddings [num, dim], where the model
    is told its level; it belongs to the seed of an image."""
    if request.noise_level is None:
        return told
    if isinstance(condition, UnCLIP):
        name, shape = "picture_noise", (condition.dim,)
    else:
        name, shape = "low_resolution_noise", told["low_resolution"].shape[1:]
    noise = [np.random.default_rng([1, seed]).standard_normal(shape) for seed in seeds(request)]
    level = np.full(request.num, request.noise_level, np.int32)
    return told | {name: np.float32(noise), "noise_level": level}
