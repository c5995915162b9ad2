"""How far a reconstruction is from its image."""

import jax.numpy as jnp

from ldm_jax.types import Array


def l1(image: Array, reconstruction: Array) -> Array:
    """Absolute error summed over each image: [B, H, W, C] twice -> [B]."""
    return jnp.sum(jnp.abs(image - reconstruction), axis=(1, 2, 3))


def l2(image: Array, reconstruction: Array) -> Array:
    """Squared error summed over each image: [B, H, W, C] twice -> [B]."""
    return jnp.sum(jnp.square(image - reconstruction), axis=(1, 2, 3))
