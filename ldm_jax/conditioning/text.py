"""Captions: a transformer trained jointly with the denoiser (Rombach et al. 2022, section 4.3.1).

The original's BERT-style encoder: learned positions, a norm before each layer, no mask.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from ldm_jax.nn.attention import MultiHeadAttention
from ldm_jax.nn.dense import dense
from ldm_jax.nn.gelu import gelu
from ldm_jax.types import Cond, Conditioner


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


def text(transformer: TextTransformer, empty: np.ndarray, pooled: bool = False) -> Conditioner:
    """Reads `batch["tokens"]` [B, n] int32.

    Args:
        empty: [n] the tokens of the empty caption, which stands for no condition.
        pooled: whether the mean of what the transformer answers is a vector beside it, by which
            a caption reaches every block as the step does, as in GLIDE (Nichol et al. 2022,
            section 3), which takes the last token's.
    """

    def init(key):
        return transformer.init(key, jnp.asarray(empty)[None])["params"]

    def apply(params, inputs):
        answers = transformer.apply({"params": params}, inputs["tokens"])
        return Cond(tokens=answers, vector=jnp.mean(answers, axis=1) if pooled else None)

    def null(n, h=1, w=1):
        return {"tokens": jnp.tile(jnp.asarray(empty, jnp.int32), (n, 1))}

    return Conditioner(init, apply, null, keys=("tokens",), dim=transformer.dim)
