"""Examples repeated to a larger batch."""

import jax.numpy as jnp

from ldm_jax.types import Array


def repeated(x: Array, count: int) -> Array:
    """[B, ...] -> [count, ...], each example count / B times in a row."""
    return x if len(x) == count else jnp.repeat(x, count // len(x), axis=0)


def summed(x: Array, y: Array) -> Array:
    """The sum of [B, ...] and [k B, ...], in either order."""
    count = max(len(x), len(y))
    return repeated(x, count) + repeated(y, count)
