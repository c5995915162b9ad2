"""DINOv2 (Oquab et al. 2023), a vision transformer trained without labels."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.nn.attention import attention
from ldm_jax.nn.cubic import cubic_weights
from ldm_jax.nn.patches import Patches
from ldm_jax.types import Array

EPSILON = 1e-6


class Architecture(NamedTuple):
    """One of the four sizes; `trained`: patches a side of the trained position embeddings."""

    channels: int
    layers: int
    heads: int
    patch: int = 14
    trained: int = 37
    size: int = 224


VIT_L14 = Architecture(1024, 24, 16)


class Layer(nn.Module):
    """Attention and a feed-forward layer four times as wide, both residual and scaled a channel
    (LayerScale, Touvron et al. 2021)."""

    heads: int

    @nn.compact
    def __call__(self, x):
        """x [B, n, C] -> [B, n, C]."""
        B, n, C = x.shape
        ones = nn.initializers.ones
        y = nn.LayerNorm(epsilon=EPSILON, name="norm1")(x)
        qkv = nn.Dense(3 * C, name="qkv")(y).reshape(B, n, 3, self.heads, C // self.heads)
        y = attention(*jnp.moveaxis(qkv, 2, 0)).reshape(B, n, C)
        x = x + self.param("scale1", ones, (C,)) * nn.Dense(C, name="out")(y)
        y = nn.Dense(4 * C, name="ff_in")(nn.LayerNorm(epsilon=EPSILON, name="norm2")(x))
        y = nn.Dense(C, name="ff_out")(jax.nn.gelu(y, approximate=False))
        return x + self.param("scale2", ones, (C,)) * y


class DINOv2(nn.Module):
    """The whole network.

    offset: added to the patches a side where positions are interpolated; 0.1 in the authors' code,
        with which FD-DINOv2 was published, 0 in transformers'.
    """

    of: Architecture = VIT_L14
    offset: float = 0.1

    @nn.compact
    def __call__(self, x) -> Array:
        """x [B, size, size, 3], normalised -> the class token, [B, channels]."""
        C, n = self.of.channels, self.of.trained
        y = Patches(C, self.of.patch, use_bias=True, name="patches")(x)
        position = self.param("position", nn.initializers.normal(0.02), (1 + n * n, C))
        side = x.shape[1] // self.of.patch
        if side != n:
            weights = cubic_weights(n, side, self.offset).astype(np.float32)
            grid = position[1:].reshape(n, n, C)
            grid = jnp.einsum("ai,bj,ijc->abc", weights, weights, grid).reshape(-1, C)
            position = jnp.concatenate([position[:1], grid])
        y = y + position
        for i in range(self.of.layers):
            y = Layer(self.of.heads, name=f"block_{i}")(y)
        return nn.LayerNorm(epsilon=EPSILON, name="norm")(y[:, 0])
