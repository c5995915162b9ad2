"""Noise conditioning augmentation (Ho et al. 2022): noise on what a model is conditioned on.

A model is also conditioned on the level of that noise.
"""

import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.processes import betas
from ldm_jax.types import Array

LEVELS = 1000  # of noise on images, 0 ... 999
BETAS = (1e-4, 2e-2)  # step variances of the first and the last
EMBEDDING_LEVELS = 1000  # of noise on embeddings, 0 ... 999, by the cosine schedule


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


def noised_embedding(e: Array, noise: Array, level: Array, mean: Array, std: Array) -> Array:
    """Noise conditioning augmentation (Ho et al. 2022) of embeddings that are brought to mean 0 and
    standard deviation 1, and back: std (sqrt(bar) (e - mean) / std + sqrt(1 - bar) noise) + mean.

    Args:
        e: [B, d], as the noise.
        level: [B] int32; the least, 0, is a little noise.
        mean, std: [d], of the embeddings of many images.
    """
    bar = np.cumprod(1.0 - betas.cosine(EMBEDDING_LEVELS))
    bar = jnp.asarray(bar, jnp.float32)[level][:, None]
    return std * (jnp.sqrt(bar) * (e - mean) / std + jnp.sqrt(1.0 - bar) * noise) + mean
