"""The spatial transformer: cross-attention between an image and its condition."""

import flax.linen as nn

from ldm_jax.nn.attention import MultiHeadAttention
from ldm_jax.nn.dense import DenseHalves, dense
from ldm_jax.nn.embedding import place_embedding
from ldm_jax.nn.gelu import gelu
from ldm_jax.nn.norm import group_norm
from ldm_jax.nn.repeat import repeated


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
    def __call__(self, x, context, mask, entries=()):
        """x [B, n, C], context [k B, m, D], mask [k B, m] or None -> [k B, n, C].

        Until x meets the contexts, it is computed once for the k of them.

        Args:
            entries: of cross-attention, see `MultiHeadAttention`.
        """

        def norm(name):
            return nn.LayerNorm(epsilon=1e-5, name=name)(x)

        first = MultiHeadAttention(self.heads, self.head_dim, self.dtype, name="self")
        y = first(norm("norm1"), *((context, mask) if self.cross_only else ()))
        x = repeated(x, len(y)) + y
        cross = MultiHeadAttention(self.heads, self.head_dim, self.dtype, name="cross")
        y = cross(norm("norm2"), context, mask, entries)
        x = repeated(x, len(y)) + y
        return x + GEGLU(self.dtype, name="ff")(norm("norm3"))


class SpatialTransformer(nn.Module):
    """Rombach et al. 2022, table 15: a transformer over the h w places of an image."""

    heads: int
    head_dim: int
    depth: int
    groups: int
    positions: bool = False
    cross_only: bool = False
    dtype: str = "float32"  # of all but norms and scores

    @nn.compact
    def __call__(self, x, context, mask=None, entries=()):
        """x [B, h, w, C], context [k B, m, D] -> [k B, h, w, C]; starts as the identity.

        Args:
            entries: of each block's cross-attention, see `MultiHeadAttention`; (): none.
        """
        B, h, w, C = x.shape
        y = group_norm(x, self.groups, 1e-6, "norm").reshape(B, h * w, C)
        y = dense(self.heads * self.head_dim, "in", dtype=self.dtype)(y)
        if self.positions:
            y += place_embedding(h, w, y.shape[-1]).astype(y.dtype)
        for i in range(self.depth):
            block = TransformerBlock(
                self.heads, self.head_dim, self.cross_only, self.dtype, name=f"block_{i}"
            )
            y = block(y, context, mask, entries[i] if entries else ())
        y = dense(C, "out", kernel_init=nn.initializers.zeros, dtype=self.dtype)(y)
        return repeated(x, len(y)) + y.reshape(-1, h, w, C)
