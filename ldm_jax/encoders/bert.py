"""BERT (Devlin et al. 2018), which is not trained here, as an encoder of sentences.

The sentence embedding of Sentence-BERT (Reimers and Gurevych 2019, section 3): the mean of what the
last layer's outputs for the words, of length 1.
"""

import math
from typing import Protocol

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from ldm_jax.encoders.text_encoder import Encoded, TextEncoder
from ldm_jax.nn.attention import attention
from ldm_jax.nn.dense import dense
from ldm_jax.nn.gelu import gelu
from ldm_jax.types import Array

SEGMENTS = 2  # of BERT; a caption is the first
EPSILON = 1e-12  # of norms


class Sizes(Protocol):
    """Settings of a BERT; of its positions a caption has the first."""

    dim: int
    layers: int
    num_heads: int
    ff_dim: int
    positions: int
    vocab_size: int
    compute: str


class Block(nn.Module):
    """Attention among tokens and a feed-forward layer, both residual, and a norm after each."""

    heads: int
    ff_dim: int
    dtype: str = "float32"  # of all but sums, norms and scores

    @nn.compact
    def __call__(self, x, mask):
        """x [B, n, C], mask [B, n] bool, which may be attended to -> [B, n, C]."""
        B, n, C = x.shape
        qkv = dense(3 * C, "qkv", dtype=self.dtype)(x)
        q, k, v = jnp.moveaxis(qkv.reshape(B, n, 3, self.heads, C // self.heads), 2, 0)
        y = attention(q, k, v, mask).reshape(B, n, C)
        x = x + dense(C, "out", dtype=self.dtype)(y)
        x = nn.LayerNorm(epsilon=EPSILON, name="norm1")(x)
        y = gelu(dense(self.ff_dim, "ff_in", dtype=self.dtype)(x))
        x = x + dense(C, "ff_out", dtype=self.dtype)(y)
        return nn.LayerNorm(epsilon=EPSILON, name="norm2")(x)


class BERT(nn.Module):
    """Token numbers to one vector a token."""

    of: Sizes

    @nn.compact
    def __call__(self, tokens, mask):
        """tokens [B, n] int32, n <= positions; mask [B, n] bool, which are words -> [B, n, dim]."""
        of, init = self.of, nn.initializers.normal(0.02)
        x = nn.Embed(of.vocab_size, of.dim, embedding_init=init, name="token")(tokens)
        x += self.param("segment", init, (SEGMENTS, of.dim))[0]
        x += self.param("position", init, (of.positions, of.dim))[: tokens.shape[1]]
        x = nn.LayerNorm(epsilon=EPSILON, name="norm")(x)
        for i in range(of.layers):
            x = Block(of.num_heads, of.ff_dim, of.compute, name=f"block_{i}")(x, mask)
        return x


def sentence(x: Array, mask: Array) -> Array:
    """The sentence embedding of x [B, n, d] with the mask [B, n]: m / |m|, m the masked mean."""
    mean = jnp.sum(jnp.where(mask[..., None], x, 0.0), axis=1)
    mean /= jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1)
    return mean / jnp.maximum(jnp.linalg.norm(mean, axis=1, keepdims=True), EPSILON)


def bert_encoder(network: BERT, empty: np.ndarray, padding: int) -> TextEncoder:
    """The text encoder; its pooled embedding is the sentence's, times sqrt(dim), which gives its
    numbers the size that networks expect, about 1.

    Args:
        empty: [n] the tokens of the empty caption.
        padding: the token id of padding, which is masked.
    """

    def init(key):
        tokens = jnp.asarray(empty)[None]
        return network.init(key, tokens, tokens != padding)["params"]

    def apply(params, ids):
        mask = ids != padding
        x = network.apply({"params": params}, ids, mask)
        pooled = math.sqrt(network.of.dim) * sentence(x, mask)
        return Encoded(jnp.where(mask[..., None], x, 0.0), pooled, mask)

    return TextEncoder(init, apply, empty)
