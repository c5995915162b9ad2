"""The spatial transformer: cross-attention between a picture and its condition."""

import flax.linen as nn

from ldm_jax.nn.attention import MultiHeadAttention
from ldm_jax.nn.dense import DenseHalves, dense
from ldm_jax.nn.embedding import place_embedding
from ldm_jax.nn.gelu import gelu
from ldm_jax.nn.norm import group_norm


class GEGLU(nn.Module):
    """Feed-forward layer with a gated GELU (Shazeer 2020), four times as wide inside."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        """x [B, n, C] -> [B, n, C]."""
        width = x.shape[-1]
        h, gate = DenseHalves(8 * width, self.dtype, name="in")(x)
        return dense(width, "out", dtype=self.dtype)(h * gelu(gate))


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention and feed-forward, each residual with a norm before it."""

    heads: int
    head_dim: int
    cross_only: bool = False  # the first attention, too, is to the context
    dtype: str = "float32"  # of all but norms and scores

    @nn.compact
    def __call__(self, x, context, mask):
        """x [B, n, C], context [B, m, D], mask [B, m] or None -> [B, n, C]."""

        def norm(name):
            return nn.LayerNorm(epsilon=1e-5, name=name)(x)

        first = MultiHeadAttention(self.heads, self.head_dim, self.dtype, name="self")
        x = x + first(norm("norm1"), *((context, mask) if self.cross_only else ()))
        cross = MultiHeadAttention(self.heads, self.head_dim, self.dtype, name="cross")
        x = x + cross(norm("norm2"), context, mask)
        return x + GEGLU(self.dtype, name="ff")(norm("norm3"))


class SpatialTransformer(nn.Module):
    """Rombach et al. 2022, table 15: a transformer over the h w places of a picture."""

    heads: int
    head_dim: int
    depth: int
    groups: int
    positions: bool = False
    cross_only: bool = False
    dtype: str = "float32"  # of all but norms and scores

    @nn.compact
    def __call__(self, x, context, mask=None):
        """x [B, h, w, C], context [B, m, D] -> [B, h, w, C]; starts as the identity."""
        B, h, w, C = x.shape
        y = group_norm(x, self.groups, 1e-6, "norm").reshape(B, h * w, C)
        y = dense(self.heads * self.head_dim, "in", dtype=self.dtype)(y)
        if self.positions:
            y += place_embedding(h, w, y.shape[-1]).astype(y.dtype)
        for i in range(self.depth):
            block = TransformerBlock(
                self.heads, self.head_dim, self.cross_only, self.dtype, name=f"block_{i}"
            )
            y = block(y, context, mask)
        y = dense(C, "out", kernel_init=nn.initializers.zeros, dtype=self.dtype)(y)
        return x + y.reshape(B, h, w, C)
