"""Sinusoidal embeddings of timesteps and of positions in an image."""

import flax.linen as nn
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


def place_embedding(height: int, width: int, dim: int) -> Array:
    """Sinusoidal embedding of each position's row and column (Dosovitskiy et al. 2021, appendix
    D.4).

    Args:
        dim: divisible by 4; half of it encodes the row, half the column.

    Returns:
        [height * width, dim] float32, row by row.
    """
    rows = jnp.repeat(step_embedding(jnp.arange(height), dim // 2), width, axis=0)
    columns = jnp.tile(step_embedding(jnp.arange(width), dim // 2), (height, 1))
    return jnp.concatenate([rows, columns], axis=-1)


def two_layers(x: Array, width: int, name: str) -> Array:
    """[B, d] -> [B, width] by Dense, SiLU, Dense: the embedding of a timestep or a vector.

    Call it inside a compact module; the layers are called name_1 and name_2.
    """
    x = nn.Dense(width, name=f"{name}_1")(x)
    return nn.Dense(width, name=f"{name}_2")(nn.silu(x))
