"""A transformer that encodes tokens, trained with the denoiser (Rombach et al. 2022, 4.3.1).

The original's BERT-style encoder: learned positions, a norm before each layer, no mask.
"""

from typing import Protocol

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from ldm_jax.encoders.text_encoder import Encoded, TextEncoder
from ldm_jax.nn.attention import MultiHeadAttention
from ldm_jax.nn.dense import dense
from ldm_jax.nn.gelu import gelu


class Sizes(Protocol):
    """Settings of a transformer; `compute` is the type of all but sums, norms and scores."""

    dim: int
    layers: int
    num_heads: int
    head_dim: int
    length: int
    vocab_size: int
    compute: str


class TextTransformer(nn.Module):
    """Token numbers to one vector a token."""

    of: Sizes
    vocab_size: int

    @nn.compact
    def __call__(self, tokens):
        """tokens [B, n] int32, n <= length -> [B, n, dim]."""
        of, init, dtype = self.of, nn.initializers.normal(0.02), self.of.compute
        x = nn.Embed(self.vocab_size, of.dim, embedding_init=init, name="token")(tokens)
        x += self.param("position", init, (of.length, of.dim))[: tokens.shape[1]]

        def norm(name):
            return nn.LayerNorm(epsilon=1e-5, name=name)(x)

        for i in range(of.layers):
            attention = MultiHeadAttention(of.num_heads, of.head_dim, dtype, name=f"attn_{i}")
            x += attention(norm(f"attn_norm_{i}"))
            h = dense(4 * of.dim, f"ff_in_{i}", dtype=dtype)(norm(f"ff_norm_{i}"))
            x += dense(of.dim, f"ff_out_{i}", dtype=dtype)(gelu(h))
        return norm("norm")


def transformer_encoder(network: TextTransformer, empty: np.ndarray) -> TextEncoder:
    """The text encoder; its pooled embedding is the mean of the tokens.

    Nichol et al. 2022 (GLIDE, section 3) pool the last token.
    """

    def apply(params, ids):
        x = network.apply({"params": params}, ids)
        return Encoded(x, jnp.mean(x, axis=1))

    def init(key):
        return network.init(key, jnp.asarray(empty)[None])["params"]

    return TextEncoder(init, apply, empty)
