"""Twice the resolution, by nearest neighbours and a convolution, without the larger image.

The doubled image has each position four times, so of the three taps of a row two fall on the same
position of the small image, and can be added beforehand:

    even rows 2 i:      k0 x[i - 1] + (k1 + k2) x[i]
    odd rows  2 i + 1:  (k0 + k1) x[i] + k2 x[i + 1]

and columns likewise. The four kinds of positions are four convolutions of 2 x 2 taps of the small
image: 16 products instead of 36, and the doubled image is neither made nor kept for the backward
pass. (Figures are in docs/benchmarks.md.)
"""

import flax.linen as nn
import jax.numpy as jnp

from ldm_jax.nn.conv import VERY_FEW_PLACES, VERY_MANY_WEIGHTS, Conv3x3, conv
from ldm_jax.types import Array


def interleaved(even: Array, odd: Array, axis: int) -> Array:
    """Two arrays of one shape as the even and the odd positions along an axis."""
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis + 1).reshape(shape)


def doubled(x: Array) -> Array:
    """Every position four times: [B, h, w, C] -> [B, 2 h, 2 w, C]."""
    rows = interleaved(x, x, 1)
    return interleaved(rows, rows, 2)


def folded(kernel: Array, axis: int) -> tuple[Array, Array]:
    """The two taps of even positions and those of odd ones, from the three taps along an axis."""
    k0, k1, k2 = (kernel.take(i, axis) for i in range(3))
    return jnp.stack([k0, k1 + k2], axis), jnp.stack([k0 + k1, k2], axis)


def convolved(x: Array, kernel: Array) -> Array:
    """`doubled`, and then a convolution that keeps the size.

    With few positions and very many weights, adding the taps takes longer than it saves.

    Args:
        x:      [B, h, w, C].
        kernel: [3, 3, C, D].

    Returns:
        [B, 2 h, 2 w, D].
    """
    if x.shape[1] * x.shape[2] <= VERY_FEW_PLACES and kernel[0, 0].size >= VERY_MANY_WEIGHTS:
        return conv(doubled(x), kernel.astype(x.dtype))
    taps = kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32))  # added in float32

    def at(a: int, b: int) -> Array:  # the positions [a::2, b::2]
        kernel = folded(folded(taps, 0)[a], 1)[b].astype(x.dtype)
        return conv(x, kernel, ((1 - a, a), (1 - b, b)))

    rows = (interleaved(at(a, 0), at(a, 1), 2) for a in (0, 1))
    return interleaved(*rows, 1)


class DoubledConv(Conv3x3):
    """A 3 x 3 convolution of the doubled image: [B, h, w, C] -> [B, 2 h, 2 w, features]."""

    def convolve(self, x: Array, kernel: Array) -> Array:
        return convolved(x, kernel)


class Upsample(nn.Module):
    """Doubles the resolution by nearest neighbours and a convolution."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> [B, 2 h, 2 w, C]."""
        return DoubledConv(x.shape[-1], dtype=self.dtype, name="conv")(x)
