"""GLIDE's text transformer (Nichol et al. 2022, section 2.3; openai/glide-text2im, xf.py).

It has no mask: a caption is filled up with padding, which has a learned embedding a position, and
all positions attend to all.
"""

from typing import Protocol

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from ldm_jax.encoders.text_encoder import Encoded, TextEncoder
from ldm_jax.nn.attention import attention
from ldm_jax.nn.dense import dense
from ldm_jax.nn.gelu import gelu


class Sizes(Protocol):
    """Settings of the transformer; `compute` is the type of all but sums, norms and scores."""

    dim: int
    layers: int
    num_heads: int
    length: int
    vector_dim: int
    compute: str


class Block(nn.Module):
    """Self-attention and a feed-forward layer four times as wide, both residual."""

    heads: int
    dtype: str = "float32"  # of all but norms and scores

    @nn.compact
    def __call__(self, x):
        """x [B, n, C] -> [B, n, C]."""
        B, n, C = x.shape
        y = nn.LayerNorm(epsilon=1e-5, name="norm1")(x)
        qkv = dense(3 * C, "qkv", dtype=self.dtype)(y)
        # head-major: the channels are laid out [heads, (q, k, v), d]
        q, k, v = jnp.moveaxis(qkv.reshape(B, n, self.heads, 3, C // self.heads), 3, 0)
        x = x + dense(C, "out", dtype=self.dtype)(attention(q, k, v).reshape(B, n, C))
        y = nn.LayerNorm(epsilon=1e-5, name="norm2")(x)
        y = gelu(dense(4 * C, "ff_in", dtype=self.dtype)(y))
        return x + dense(C, "ff_out", dtype=self.dtype)(y)


class PaddedTransformer(nn.Module):
    """Token numbers to one vector a token, and one of the whole caption."""

    of: Sizes
    vocab_size: int

    @nn.compact
    def __call__(self, tokens, mask):
        """tokens [B, length] int32, mask [B, length] bool, False where there is padding ->
        [B, length, dim], and the last position, projected, [B, vector_dim]."""
        of, init = self.of, nn.initializers.normal(0.02)
        x = nn.Embed(self.vocab_size, of.dim, embedding_init=init, name="token")(tokens)
        x += self.param("position", init, (of.length, of.dim))
        x = jnp.where(mask[..., None], x, self.param("padding", init, (of.length, of.dim)))
        for i in range(of.layers):
            x = Block(of.num_heads, of.compute, name=f"block_{i}")(x)
        x = nn.LayerNorm(epsilon=1e-5, name="norm")(x)
        return x, dense(of.vector_dim, "vector")(x[:, -1])


def glide_encoder(network: PaddedTransformer, empty: np.ndarray, padding: int) -> TextEncoder:
    """The text encoder; its pooled embedding is that of the last position.

    Args:
        empty: [length] the tokens of the empty caption: padding.
        padding: the number of padding.
    """

    def init(key):
        tokens = jnp.asarray(empty)[None]
        return network.init(key, tokens, tokens != padding)["params"]

    def apply(params, ids):
        return Encoded(*network.apply({"params": params}, ids, ids != padding))

    return TextEncoder(init, apply, empty)
