"""Ways of halving the resolution in the networks of perceptual losses."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from ldm_jax.types import Array


def max_pool(x: Array, window: int, stride: int, partial: bool = False) -> Array:
    """The largest value in each window of x [B, h, w, C].

    Args:
        partial: whether a last window that exceeds the border is kept.
    """
    over = [-(n - window) % stride if partial else 0 for n in x.shape[1:3]]
    return nn.max_pool(x, (window, window), (stride, stride), [(0, n) for n in over])


def blur_pool(x: Array) -> Array:
    """Every second value of x [B, h, w, C], smoothed by the binomial filter (1, 2, 1) / 4.

    The border is reflected by two values, one more than the filter needs (Ghildyal and Liu 2022),
    so that h values become (h + 1) // 2 + 1.
    """
    for axis in (1, 2):
        pad = [(2, 2) if n == axis else (0, 0) for n in range(4)]
        y = jnp.pad(x, pad, mode="reflect")
        last = y.shape[axis] - 3
        left, middle, right = (
            lax.slice_in_dim(y, n, last + n + 1, stride=2, axis=axis) for n in range(3)
        )
        x = (left + 2 * middle + right) / 4
    return x
