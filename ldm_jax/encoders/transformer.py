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
    """Settings of a transformer."""

    dim: int
    layers: int
    num_heads: int
    head_dim: int
    length: int
    vocab_size: int
    compute: str


class TextTransformer(nn.Module):
    """Token numbers to one vector a token."""

    vocab_size: int
    dim: int
    layers: int
    heads: int
    head_dim: int
    length: int
    dtype: str = "float32"  # of all but sums, norms and scores

    @nn.compact
    def __call__(self, tokens):
        """tokens [B, n] int32, n <= length -> [B, n, dim]."""
        init = nn.initializers.normal(0.02)
        x = nn.Embed(self.vocab_size, self.dim, embedding_init=init, name="token")(tokens)
        x += self.param("position", init, (self.length, self.dim))[: tokens.shape[1]]

        def norm(name):
            return nn.LayerNorm(epsilon=1e-5, name=name)(x)

        for i in range(self.layers):
            attention = MultiHeadAttention(self.heads, self.head_dim, self.dtype, name=f"attn_{i}")
            x += attention(norm(f"attn_norm_{i}"))
            h = dense(4 * self.dim, f"ff_in_{i}", dtype=self.dtype)(norm(f"ff_norm_{i}"))
            x += dense(self.dim, f"ff_out_{i}", dtype=self.dtype)(gelu(h))
        return norm("norm")


def transformer(sizes: Sizes, vocab_size: int) -> TextTransformer:
    """The transformer of these settings."""
    return TextTransformer(
        vocab_size=vocab_size,
        dim=sizes.dim,
        layers=sizes.layers,
        heads=sizes.num_heads,
        head_dim=sizes.head_dim,
        length=sizes.length,
        dtype=sizes.compute,
    )


def transformer_encoder(network: TextTransformer, empty: np.ndarray) -> TextEncoder:
    """A text encoder that is trained; the pooled embedding is the mean of the tokens.

    Nichol et al. 2022 (GLIDE, section 3) pool the last token.
    """

    def apply(params, ids):
        x = network.apply({"params": params}, ids)
        return Encoded(x, jnp.mean(x, axis=1))

    def init(key):
        return network.init(key, jnp.asarray(empty)[None])["params"]

    return TextEncoder(init, apply, True, network.dim, empty)
