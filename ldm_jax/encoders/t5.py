"""T5's encoder, version 1.1, as an encoder of captions.

T5: Raffel et al. 2020; version 1.1 has the gated feed-forward layer of Shazeer 2020 (GLU Variants
Improve Transformer, eq. 6). Positions are relative alone, norms have no mean, no layer has a bias,
and scores are not divided by sqrt(d).
"""

import math
from typing import Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.encoders.text_encoder import Encoded, TextEncoder
from ldm_jax.nn.dense import dense

BUCKETS, FARTHEST = 32, 128  # of relative positions, both ways; all farther ones share a bucket
EPSILON = 1e-6  # of norms


class Sizes(Protocol):
    """Settings of a T5."""

    dim: int
    layers: int
    num_heads: int
    head_dim: int
    ff_dim: int
    vocab_size: int
    compute: str


def buckets(n: int) -> np.ndarray:
    """The buckets of relative positions (Raffel et al. 2020, section 2.1), [n, n] of query and key.

    Half of the buckets are for keys that follow. Of each half, a half are exact, and the others
    grow in width as the logarithm, up to FARTHEST.
    """
    ahead = np.arange(n)[None] - np.arange(n)[:, None]
    half, exact = BUCKETS // 2, BUCKETS // 4
    distance = np.abs(ahead)
    ratio = np.log(np.maximum(distance, 1).astype(np.float32) / exact) / math.log(FARTHEST / exact)
    far = exact + (ratio * (half - exact)).astype(np.int32)
    near = np.where(distance < exact, distance, np.minimum(far, half - 1))
    return near + half * (ahead > 0)


def normal(fan: int):
    """Weights of the standard deviation 1 / sqrt(fan)."""
    return nn.initializers.normal(fan**-0.5)


class Block(nn.Module):
    """Attention among tokens and a gated feed-forward layer, a norm before each, both residual."""

    of: Sizes

    @nn.compact
    def __call__(self, x, bias):
        """x [B, n, dim]; bias [B, heads, n, n], which is added to scores -> [B, n, dim]."""
        of, dtype = self.of, self.of.compute
        inner = of.num_heads * of.head_dim

        def linear(y, features, name, fan):
            init = normal(fan)
            return dense(features, name, use_bias=False, dtype=dtype, kernel_init=init)(y)

        def heads(name, fan):
            return linear(y, inner, name, fan).reshape(*y.shape[:2], of.num_heads, of.head_dim)

        y = nn.RMSNorm(epsilon=EPSILON, name="norm1")(x)
        q, k, v = heads("q", of.dim * of.head_dim), heads("k", of.dim), heads("v", of.dim)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(scores + bias, axis=-1).astype(v.dtype)
        y = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(*y.shape[:2], inner)
        x = x + linear(y, of.dim, "out", inner)
        y = nn.RMSNorm(epsilon=EPSILON, name="norm2")(x)
        gate = jax.nn.gelu(linear(y, of.ff_dim, "gate", of.dim), approximate=True)
        y = gate * linear(y, of.ff_dim, "ff_in", of.dim)
        return x + linear(y, of.dim, "ff_out", of.ff_dim)


class T5(nn.Module):
    """Token numbers to one vector a token."""

    of: Sizes

    @nn.compact
    def __call__(self, tokens, mask=None):
        """tokens [B, n] int32; mask [B, n] bool, which may be attended to -> [B, n, dim]."""
        of, n = self.of, tokens.shape[1]
        x = nn.Embed(of.vocab_size, of.dim, embedding_init=normal(1), name="token")(tokens)
        table = self.param("relative", normal(of.dim), (BUCKETS, of.num_heads))
        bias = jnp.moveaxis(table[buckets(n)], -1, 0)[None]
        if mask is not None:
            bias = jnp.where(mask[:, None, None], bias, jnp.finfo(jnp.float32).min)
        for i in range(of.layers):
            x = Block(of, name=f"block_{i}")(x, bias)
        return nn.RMSNorm(epsilon=EPSILON, name="norm")(x)


def t5_encoder(network: T5, empty: np.ndarray, padding: int, attend_padding: bool) -> TextEncoder:
    """The text encoder; its pooled embedding is the mean of the words' tokens.

    Args:
        empty: [n] the tokens of the empty caption.
        padding: the token id of padding, to which no token attends in the encoder.
        attend_padding: whether what is conditioned on the tokens attends to those of padding, too.
    """

    def init(key):
        return network.init(key, jnp.asarray(empty)[None])["params"]

    def apply(params, ids):
        mask = ids != padding
        x = network.apply({"params": params}, ids, mask)
        words = jnp.where(mask[..., None], x, 0.0)
        pooled = jnp.sum(words, axis=1) / jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1)
        return Encoded(x, pooled) if attend_padding else Encoded(words, pooled, mask)

    return TextEncoder(init, apply, empty)
