"""CLIP's text encoder (Radford et al. 2021, section 2.4), as Stable Diffusion uses it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.encoders.clip.transformer import Block
from ldm_jax.encoders.text_encoder import Encoded, TextEncoder


class CLIPTextEncoder(nn.Module):
    """Token numbers to one embedding a token.

    Stable Diffusion 1 is conditioned on all embeddings of OpenAI's ViT-L/14 after the last norm;
    Stable Diffusion 2 on those of OpenCLIP's ViT-H/14 without its last layer, after the same norm.
    """

    vocab_size: int
    dim: int
    layers: int  # number used
    heads: int
    length: int
    weights: str  # "openai" or "openclip": decides the activation

    @nn.compact
    def __call__(self, tokens):
        """tokens [B, n] int32, n <= length -> [B, n, dim]."""
        embed = nn.Embed(
            self.vocab_size, self.dim, embedding_init=nn.initializers.normal(0.02), name="token"
        )
        positions = self.param("position", nn.initializers.normal(0.01), (self.length, self.dim))
        x = embed(tokens) + positions[: tokens.shape[1]]
        for i in range(self.layers):
            x = Block(self.heads, causal=True, activation=self.weights, name=f"block_{i}")(x)
        return nn.LayerNorm(epsilon=1e-5, name="norm")(x)


def clip_encoder(encoder: CLIPTextEncoder, empty: np.ndarray) -> TextEncoder:
    """CLIP's text encoder; the pooled embedding is that of a caption's end.

    Args:
        empty: [n] the tokens of the empty caption: start, end, and padding.
    """

    def init(key):
        return encoder.init(key, jnp.asarray(empty)[None])["params"]

    def apply(params, ids):
        x = encoder.apply({"params": params}, ids)
        end = jnp.argmax(ids == empty[1], axis=1)  # its first; added words have higher numbers
        return Encoded(x, jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0])

    return TextEncoder(init, apply, empty)


def with_projection(encoder: TextEncoder, width: int, dim: int) -> TextEncoder:
    """The same with the pooled embedding in the space of images, and a mask of the tokens up to a
    caption's end (unCLIP).

    Args:
        width: of the tokens.
        dim: of that space.
    """
    end = encoder.empty[1]

    def init(key):
        kernel = width**-0.5 * jax.random.normal(jax.random.fold_in(key, 1), (width, dim))
        return encoder.init(key) | {"project": {"kernel": kernel}}

    def apply(params, ids):
        found = encoder.apply(params, ids)
        last = jnp.argmax(ids == end, axis=1)
        mask = jnp.arange(ids.shape[1]) <= last[:, None]
        return Encoded(found.tokens, found.pooled @ params["project"]["kernel"], mask)

    return TextEncoder(init, apply, encoder.empty)
