"""Attention: the formula, and the two layers that use it on pictures and on tokens."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.nn.norm import group_norm
from ldm_jax.types import Array


def attention(q: Array, k: Array, v: Array, mask: Array | None = None) -> Array:
    """softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, eq. 1), scores in float32.

    Args:
        q: [B, n, heads, d].
        k, v: [B, m, heads, d].
        mask: [B, m] bool, which of the m may be attended to; None: all.

    Returns:
        [B, n, heads, d].
    """
    if mask is not None:
        mask = mask[:, None, None, :]
    return jax.nn.dot_product_attention(q, k, v, mask=mask)


class MultiHeadAttention(nn.Module):
    """Attention from x [B, n, C] to context [B, m, D] (to x itself where it is None)."""

    heads: int
    head_dim: int

    @nn.compact
    def __call__(self, x, context=None, mask=None):
        """Returns [B, n, C]."""
        context = x if context is None else context

        def split(y, name):
            y = nn.Dense(self.heads * self.head_dim, use_bias=False, name=name)(y)
            return y.reshape(*y.shape[:-1], self.heads, self.head_dim)

        y = attention(split(x, "q"), split(context, "k"), split(context, "v"), mask)
        return nn.Dense(x.shape[-1], name="out")(y.reshape(*y.shape[:2], -1))


class SpatialSelfAttention(nn.Module):
    """Residual self-attention between the places of a picture x [B, h, w, C].

    The UNet's AttentionBlock (head-major qkv, epsilon 1e-5, starts as the identity) and the
    autoencoder's AttnBlock (one head, epsilon 1e-6) are both this layer.
    """

    heads: int
    groups: int
    epsilon: float
    zero_init: bool
    dtype: str = "float32"  # of all but the norm and the scores

    @nn.compact
    def __call__(self, x):
        """Returns [B, h, w, C]."""
        B, h, w, C = x.shape
        y = group_norm(x, self.groups, self.epsilon, "norm").reshape(B, h * w, C)
        qkv = nn.Dense(3 * C, dtype=self.dtype, name="qkv")(y)
        # head-major: the channels are laid out [heads, (q, k, v), d]
        q, k, v = jnp.moveaxis(qkv.reshape(B, h * w, self.heads, 3, C // self.heads), 3, 0)
        y = attention(q, k, v).reshape(B, h * w, C)
        init = nn.initializers.zeros if self.zero_init else nn.linear.default_kernel_init
        out = nn.Dense(C, kernel_init=init, dtype=self.dtype, name="out")
        return x + out(y).reshape(B, h, w, C)
