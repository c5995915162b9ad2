"""The transformer of both towers: a norm before attention and before the feed-forward layer."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.types import Array


def quick_gelu(x: Array) -> Array:
    """x sigmoid(1.702 x), the GELU of OpenAI's weights."""
    return x * jax.nn.sigmoid(1.702 * x)


def gelu(x: Array) -> Array:
    """x Phi(x), that of OpenCLIP's."""
    return jax.nn.gelu(x, approximate=False)


ACTIVATIONS = {"openai": quick_gelu, "openclip": gelu}


class Block(nn.Module):
    """Attention among tokens and a feed-forward layer four times as wide, both residual."""

    heads: int
    causal: bool  # a token sees those before it and itself alone
    activation: str  # key of ACTIVATIONS

    @nn.compact
    def __call__(self, x):
        """x [B, n, C] -> [B, n, C]."""
        B, n, C = x.shape
        y = nn.LayerNorm(epsilon=1e-5, name="norm1")(x)
        qkv = nn.Dense(3 * C, name="qkv")(y).reshape(B, n, 3, self.heads, C // self.heads)
        q, k, v = jnp.moveaxis(qkv, 2, 0)
        y = jax.nn.dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + nn.Dense(C, name="out")(y.reshape(B, n, C))
        y = nn.Dense(4 * C, name="ff_in")(nn.LayerNorm(epsilon=1e-5, name="norm2")(x))
        return x + nn.Dense(C, name="ff_out")(ACTIVATIONS[self.activation](y))
