"""The noise that a denoiser is trained with, and its variations."""

import jax.numpy as jnp

from ldm_jax.diffusion.losses.settings import DiffusionLoss
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.types import Array


def drawn(
    config: DiffusionLoss, z0: Array, keys: Array, offset_keys: Array, more_keys: Array
) -> tuple[Array, Array]:
    """The noise that is to be predicted, and that which is added to latents z0 [B, h, w, c].

    With offset noise both have a random level for every channel of every example: the lowest
    frequency of an image is then noised as strongly as the others, and images may become darker or
    lighter than the mean. With input perturbation (Ning et al. 2023, algorithm 1) the second has
    more noise: the network is trained on slightly wrong inputs, as its own samples are.
    """
    noise = normal_like(keys, z0)
    if config.offset_noise:
        level = jnp.zeros((z0.shape[0], 1, 1, z0.shape[-1]), z0.dtype)
        noise = noise + config.offset_noise * normal_like(offset_keys, level)
    if not config.input_perturbation:
        return noise, noise
    return noise, noise + config.input_perturbation * normal_like(more_keys, z0)
