"""Residual blocks and changes of resolution, shared by the autoencoder and the UNet."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from ldm_jax.nn.conv import Conv3x3
from ldm_jax.nn.dense import dense
from ldm_jax.nn.norm import group_norm
from ldm_jax.nn.upsample import DoubledConv, doubled
from ldm_jax.types import Array


def halved(x: Array) -> Array:
    """Means of 2 x 2 positions: [B, 2 h, 2 w, C] -> [B, h, w, C]."""
    return nn.avg_pool(x, (2, 2), (2, 2))


class ResBlock(nn.Module):
    """norm, SiLU, convolution, twice; the timestep's embedding, where given, comes in between.

    It is added, or scales and shifts the second norm's output (Dhariwal and Nichol 2021, eq. 3).
    `resample` is applied to both branches before the first convolution.
    """

    channels: int
    groups: int
    epsilon: float
    zero_init: bool = False  # starts as the identity
    dtype: str = "float32"  # of all but the norms
    scale_shift: bool = False
    resample: Callable[[Array], Array] | None = None  # `halved`, `doubled`; None: not at all

    @nn.compact
    def __call__(self, x, embedding=None):
        """x [B, h, w, C], embedding [B, E] or None -> [B, h, w, channels]."""
        y = nn.silu(group_norm(x, self.groups, self.epsilon, "norm1"))
        if self.resample is doubled:
            x, y = doubled(x), DoubledConv(self.channels, dtype=self.dtype, name="conv1")(y)
        else:
            if self.resample:
                x, y = self.resample(x), self.resample(y)
            y = Conv3x3(self.channels, dtype=self.dtype, name="conv1")(y)
        scale = shift = None
        if embedding is not None:
            width = 2 * self.channels if self.scale_shift else self.channels
            projected = nn.Dense(width, dtype=self.dtype, name="embedding")(nn.silu(embedding))
            projected = projected[:, None, None]
            if self.scale_shift:
                scale, shift = jnp.split(projected, 2, axis=-1)
            else:
                y += projected
        y = group_norm(y, self.groups, self.epsilon, "norm2")
        if scale is not None:
            y = y * (1.0 + scale) + shift
        y = Conv3x3(self.channels, self.zero_init, dtype=self.dtype, name="conv2")(nn.silu(y))
        if x.shape[-1] != self.channels:
            x = dense(self.channels, "skip", dtype=self.dtype)(x)
        return x + y


class Downsample(nn.Module):
    """Halves the resolution with a strided convolution.

    padding: ((1, 1), (1, 1)) in the UNet, ((0, 1), (0, 1)) in the autoencoder, as the originals.
    """

    padding: tuple[tuple[int, int], tuple[int, int]]
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> [B, h / 2, w / 2, C]."""
        C, settings = x.shape[-1], {"padding": self.padding, "stride": 2}
        return Conv3x3(C, dtype=self.dtype, name="conv", **settings)(x)
