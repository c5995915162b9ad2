"""The transformer of both encoders: a norm before attention and before the feed-forward layer."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.nn.dense import dense
from ldm_jax.nn.gelu import gelu, quick_gelu

ACTIVATIONS = {"openai": quick_gelu, "openclip": gelu}


class Block(nn.Module):
    """Self-attention and a feed-forward layer four times as wide, both residual."""

    heads: int
    causal: bool  # a token attends to itself and those before it
    activation: str  # key of ACTIVATIONS

    @nn.compact
    def __call__(self, x, mask=None):
        """x [B, n, C] -> [B, n, C].

        Args:
            mask: [B, n] bool, which may be attended to; None: all.
        """
        B, n, C = x.shape
        y = nn.LayerNorm(epsilon=1e-5, name="norm1")(x)
        qkv = dense(3 * C, "qkv")(y).reshape(B, n, 3, self.heads, C // self.heads)
        q, k, v = jnp.moveaxis(qkv, 2, 0)
        mask = None if mask is None else mask[:, None, None, :]
        y = jax.nn.dot_product_attention(q, k, v, mask=mask, is_causal=self.causal)
        x = x + dense(C, "out")(y.reshape(B, n, C))
        y = dense(4 * C, "ff_in")(nn.LayerNorm(epsilon=1e-5, name="norm2")(x))
        return x + dense(C, "ff_out")(ACTIVATIONS[self.activation](y))
