"""The resampler: learned queries attend to any number of tokens (Alayrac et al. 2022, Flamingo,
section 3.1.1), as IP-Adapter and InstantID use it."""

import flax.linen as nn
import jax.numpy as jnp

from ldm_jax.nn.attention import attention
from ldm_jax.nn.dense import dense
from ldm_jax.nn.gelu import gelu


class Resampler(nn.Module):
    """Tokens to as many tokens as there are queries; their order does not count."""

    queries: int
    width: int
    depth: int
    head_channels: int
    heads: int
    features: int  # of the tokens that come out

    @nn.compact
    def __call__(self, x):
        """x [B, n, C] -> [B, queries, features]."""
        x = dense(self.width, "in")(x)
        std = self.width**-0.5
        y = self.param("queries", nn.initializers.normal(std), (self.queries, self.width))
        y = jnp.broadcast_to(y, (len(x), *y.shape))
        for n in range(self.depth):
            y = ResamplerBlock(self.head_channels, self.heads, name=f"block_{n}")(x, y)
        return norm("norm")(dense(self.features, "out")(y))


class ResamplerBlock(nn.Module):
    """Attention from the queries to the tokens and the queries, and a feed-forward layer four
    times as wide, both residual."""

    head_channels: int
    heads: int

    @nn.compact
    def __call__(self, x, y):
        """x [B, n, C], y [B, m, C] -> [B, m, C]."""
        B, m, C = y.shape
        inner = self.heads * self.head_channels

        def split(z):
            return z.reshape(B, -1, self.heads, self.head_channels)

        inside = norm("norm2")(y)
        seen = jnp.concatenate([norm("norm1")(x), inside], axis=1)
        q = dense(inner, "q", use_bias=False)(inside)
        k, v = jnp.split(dense(2 * inner, "kv", use_bias=False)(seen), 2, axis=-1)
        attended = attention(split(q), split(k), split(v)).reshape(B, m, inner)
        y = y + dense(C, "attended", use_bias=False)(attended)
        z = dense(4 * C, "ff_in", use_bias=False)(norm("norm3")(y))
        return y + dense(C, "ff_out", use_bias=False)(gelu(z))


def norm(name: str) -> nn.LayerNorm:
    """A layer norm as PyTorch has it."""
    return nn.LayerNorm(epsilon=1e-5, name=name)
