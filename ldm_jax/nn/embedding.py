"""Sinusoidal embedding of the diffusion step."""

import jax.numpy as jnp
import numpy as np

from ldm_jax.types import Array


def step_embedding(steps: Array, dim: int, longest: float = 10_000.0) -> Array:
    """[cos(w_i k), sin(w_i k)] with w_i = longest^(-i / (dim / 2)); cosine first, as the original.

    Args:
        steps: [B], counted from 0.
        dim: even.

    Returns:
        [B, dim] float32.
    """
    half = dim // 2
    frequencies = np.exp(-np.log(longest) * np.arange(half, dtype=np.float32) / half)
    angles = steps.astype(jnp.float32)[:, None] * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
