"""Variations of the noise that a denoiser is trained with."""

import jax.numpy as jnp

from ldm_jax.types import Array


def offset(noise: Array, level: Array, strength: float) -> Array:
    """Noise plus a random level for every channel of every example (offset noise).

    The lowest frequency of an image is then noised as strongly as the others, and images may
    become darker or lighter than the mean.

    Args:
        noise: [B, h, w, c] standard normal.
        level: [B, 1, 1, c] standard normal.
    """
    return noise + strength * level


def perturbed(noise: Array, more: Array, strength: float) -> Array:
    """The noise used to make z, where `noise` stays the target (Ning et al. 2023, algorithm 1).

    The network is trained on slightly wrong inputs z, as its own samples are.

    Args:
        noise, more: [B, h, w, c] independent standard normal.
    """
    return noise + strength * more


def level_like(normal, keys: Array, x: Array) -> Array:
    """One standard normal value a channel of an example, [B, 1, 1, c]."""
    return normal(keys, jnp.zeros((x.shape[0], 1, 1, x.shape[-1]), x.dtype))
