"""Residual blocks and changes of resolution, shared by the autoencoder and the UNet."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from ldm_jax.nn.dense import dense
from ldm_jax.nn.norm import group_norm
from ldm_jax.nn.upsample import DoubledConv, doubled
from ldm_jax.types import Array


def conv3x3(channels: int, name: str, zero_init: bool = False, dtype: str = "float32") -> nn.Conv:
    """A 3x3 convolution that keeps the size and computes in `dtype`; its weights are float32."""
    init = nn.initializers.zeros if zero_init else nn.linear.default_kernel_init
    return nn.Conv(channels, (3, 3), padding=1, kernel_init=init, dtype=dtype, name=name)


def halved(x: Array) -> Array:
    """Means of squares of four places: [B, 2 h, 2 w, C] -> [B, h, w, C]."""
    return nn.avg_pool(x, (2, 2), (2, 2))


class ResBlock(nn.Module):
    """norm, SiLU, convolution, twice; the step's embedding, where given, comes in between.

    It is added, or scales and shifts what the second norm gives (Dhariwal and Nichol 2021, eq. 3).
    `resample` is what becomes of both branches before the first convolution.
    """

    channels: int
    groups: int
    epsilon: float
    zero_init: bool = False  # starts as the identity
    dtype: str = "float32"  # of all but the norms
    scale_shift: bool = False
    resample: Callable[[Array], Array] | None = None  # `halved`, `doubled`; None: as it is

    @nn.compact
    def __call__(self, x, embedding=None):
        """x [B, h, w, C], embedding [B, E] or None -> [B, h, w, channels]."""
        y = nn.silu(group_norm(x, self.groups, self.epsilon, "norm1"))
        if self.resample is doubled:
            x, y = doubled(x), DoubledConv(self.channels, dtype=self.dtype, name="conv1")(y)
        else:
            if self.resample:
                x, y = self.resample(x), self.resample(y)
            y = conv3x3(self.channels, "conv1", dtype=self.dtype)(y)
        scale = shift = None
        if embedding is not None:
            width = 2 * self.channels if self.scale_shift else self.channels
            told = nn.Dense(width, dtype=self.dtype, name="embedding")(nn.silu(embedding))
            told = told[:, None, None]
            if self.scale_shift:
                scale, shift = jnp.split(told, 2, axis=-1)
            else:
                y += told
        y = group_norm(y, self.groups, self.epsilon, "norm2")
        if scale is not None:
            y = y * (1.0 + scale) + shift
        y = conv3x3(self.channels, "conv2", self.zero_init, self.dtype)(nn.silu(y))
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
        conv = nn.Conv(x.shape[-1], (3, 3), 2, padding=self.padding, dtype=self.dtype, name="conv")
        return conv(x)
