"""CLIP of noised images, which guides GLIDE (Nichol et al. 2022, section 2.4; openai/glide-text2im,
clip/encoders.py).

The image encoder knows the timestep: in place of CLIP's class token there is one a timestep.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.encoders.clip.vision import normalised
from ldm_jax.nn.dense import dense
from ldm_jax.nn.gelu import gelu
from ldm_jax.nn.patches import Patches
from ldm_jax.settings import AtLeast1, AtLeast3, MoreThan4, Positive
from ldm_jax.types import Array, Params


@dataclass(frozen=True)
class NoisedCLIPModel:
    """Both encoders; defaults are the published ones'."""

    dim: AtLeast1 = 512  # of the shared embedding space
    size: AtLeast1 = 64  # pixels a side of images
    patch: AtLeast1 = 4  # pixels a side
    vision_channels: AtLeast1 = 768  # width of the image encoder
    vision_layers: AtLeast1 = 12  # its transformer blocks
    vision_heads: AtLeast1 = 12  # its attention heads
    timesteps: AtLeast1 = 1000  # that it knows
    text_channels: AtLeast1 = 512  # width of the text encoder
    text_layers: AtLeast1 = 12  # its transformer blocks
    text_heads: AtLeast1 = 8  # its attention heads
    length: AtLeast3 = 77  # tokens
    vocab_size: MoreThan4 = 65_536  # rows of the table, of which CLIP's tokens are the first
    logit_scale: Positive = 100.0  # of the similarity


class Block(nn.Module):
    """Self-attention and a feed-forward layer four times as wide, both residual; keys have no
    bias."""

    heads: int
    causal: bool  # a token attends to itself and those before it

    @nn.compact
    def __call__(self, x):
        """x [B, n, C] -> [B, n, C]."""
        B, n, C = x.shape
        y = nn.LayerNorm(epsilon=1e-5, name="norm1")(x)
        q, k, v = (
            dense(C, name, use_bias=name != "k")(y).reshape(B, n, self.heads, -1) for name in "qkv"
        )
        y = jax.nn.dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + dense(C, "out")(y.reshape(B, n, C))
        y = dense(4 * C, "ff_in")(nn.LayerNorm(epsilon=1e-5, name="norm2")(x))
        return x + dense(C, "ff_out")(gelu(y))


class NoisedImageEncoder(nn.Module):
    """Noised images to embeddings."""

    of: NoisedCLIPModel

    @nn.compact
    def __call__(self, x, timestep):
        """x [B, size, size, 3] in about -1 ... 1, timestep [B] from 0 -> [B, dim] of length 1."""
        of, init = self.of, nn.initializers.normal(0.02)
        C, positions = of.vision_channels, 1 + (of.size // of.patch) ** 2
        nearest = jnp.round(timestep).astype(jnp.int32)  # samplers have times in between, too
        first = self.param("time", init, (of.timesteps, C))[nearest]
        patches = Patches(C, of.patch, use_bias=False, name="patches")
        y = patches(normalised((x + 1.0) / 2.0), first)
        y += self.param("position", init, (positions, C))
        y = nn.LayerNorm(epsilon=1e-5, name="norm_in")(y)
        for n in range(of.vision_layers):
            y = Block(of.vision_heads, causal=False, name=f"block_{n}")(y)
        y = nn.LayerNorm(epsilon=1e-5, name="norm")(y[:, 0])
        return unit(dense(of.dim, "project", use_bias=False)(y))


class NoisedTextEncoder(nn.Module):
    """Captions to embeddings."""

    of: NoisedCLIPModel

    @nn.compact
    def __call__(self, tokens):
        """tokens [B, n] int32, of which the end has the highest number -> [B, dim] of length 1."""
        of, init = self.of, nn.initializers.normal(0.02)
        C = of.text_channels
        y = nn.Embed(of.vocab_size, C, embedding_init=init, name="token")(tokens)
        y += self.param("position", init, (of.length, C))[: tokens.shape[1]]
        for n in range(of.text_layers):
            y = Block(of.text_heads, causal=True, name=f"block_{n}")(y)
        y = y[jnp.arange(len(tokens)), jnp.argmax(tokens, axis=1)]
        y = nn.LayerNorm(epsilon=1e-5, name="norm")(y)
        return unit(dense(of.dim, "project", use_bias=False)(y))


def embed_images(of: NoisedCLIPModel, params: Params, x: Array, timestep: Array) -> Array:
    """Noised images [B, size, size, 3], timestep [B] -> [B, dim] of length 1."""
    return NoisedImageEncoder(of).apply({"params": params["vision"]}, x, timestep)


def embed_captions(of: NoisedCLIPModel, params: Params, tokens: Array) -> Array:
    """[B, n] int32 -> [B, dim] of length 1."""
    return NoisedTextEncoder(of).apply({"params": params["text"]}, tokens)


def unit(x: Array) -> Array:
    """[..., d] -> the same of length 1."""
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)
