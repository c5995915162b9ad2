"""A small image of what is to be drawn, as further input channels (Rombach et al. 2022, 4.4)."""

import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.processes import betas
from ldm_jax.types import Array, Cond, Conditioner

LEVELS = 1000  # of noise, 0 ... 999
BETAS = (1e-4, 2e-2)  # step variances of the first and the last


def noised(image: Array, noise: Array, level: Array) -> Array:
    """sqrt(alpha_bar_n) image + sqrt(1 - alpha_bar_n) noise for level n (Ho et al. 2020, eq. 4).

    Noise conditioning augmentation (Ho et al. 2022) by the process of Stable Diffusion's upscaler.

    Args:
        image: [B, h, w, 3], as the noise.
        level: [B] int32; the least, 0, is a little noise.
    """
    bar = np.cumprod(1.0 - betas.scaled_linear(LEVELS, *BETAS))
    bar = jnp.asarray(bar, jnp.float32)[level][:, None, None, None]
    return jnp.sqrt(bar) * image + jnp.sqrt(1.0 - bar) * noise


def low_resolution(with_noise: bool = False) -> Conditioner:
    """Reads `batch["low_resolution"]` [B, h, w, 3] in [-1, 1], of the size of the latents.

    The network sees it as it is; a grey image stands for no condition.

    Args:
        with_noise: reads also `low_resolution_noise`, as large and standard normal, and
            `noise_level` [B] int32, see `noised`; the level is told as the number of a vector.
    """

    def null(n, h=1, w=1):
        grey = {"low_resolution": jnp.zeros((n, h, w, 3))}
        if not with_noise:
            return grey
        level = jnp.zeros(n, jnp.int32)
        return grey | {"low_resolution_noise": jnp.zeros((n, h, w, 3)), "noise_level": level}

    def apply(params, inputs):
        if not with_noise:
            return Cond(concat=inputs["low_resolution"])
        image, noise, level = (inputs[name] for name in keys)
        return Cond(concat=noised(image, noise, level), vector=level)

    keys = tuple(null(1))
    return Conditioner(init=lambda key: {}, apply=apply, null=null, keys=keys, dim=0)
