"""CLIP's text and image encoder, which share an embedding space (Radford et al. 2021, sec. 2.3)."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ldm_jax.encoders.clip.text import CLIPTextEncoder
from ldm_jax.encoders.clip.vision import ARCHITECTURES, Architecture, CLIPImageEncoder
from ldm_jax.settings import AtLeast1, AtLeast3, MoreThan4
from ldm_jax.types import Array, Params

CLIPName = Literal["vit_b32", "vit_b16", "vit_l14", "vit_l14_336", "openclip_vit_h14"]


@dataclass(frozen=True)
class CLIPModel:
    """An image encoder and a text encoder; defaults are ViT-B/32's (Radford et al. 2021, tables 19
    and 20).

    Captions are byte pair tokens with an end token.
    """

    dim: AtLeast1 = 512  # of the shared embedding space
    patch: AtLeast1 = 32  # pixels a side
    vision_channels: AtLeast1 = 768  # width of the image encoder
    vision_layers: AtLeast1 = 12  # its transformer blocks
    vision_heads: AtLeast1 = 12  # its attention heads
    text_channels: AtLeast1 = 512  # width of the text encoder
    text_layers: AtLeast1 = 12  # its transformer blocks
    text_heads: AtLeast1 = 8  # its attention heads
    length: AtLeast3 = 77  # tokens
    vocab_size: MoreThan4 = 49_408  # at most, where tokens are learned; filled in once they are
    # a tokenizer.json or merges.txt to use; None: the published one where vocab_size is its 49,408,
    # and else learned from the captions; kept in the run
    tokenizer: str | None = None
    weights: Literal["openai", "openclip"] = "openai"  # whose: activation, padding


class TextArchitecture(NamedTuple):
    """The size of a text encoder."""

    dim: int
    layers: int
    heads: int
    length: int = 77  # tokens
    vocab_size: int = 49_408


class CLIP(NamedTuple):
    """A model.

    weights: "openai" or "openclip", which decides the activation
    """

    vision: Architecture
    text: TextArchitecture
    weights: str = "openai"


# table 20 of the paper; the last is OpenCLIP's (Cherti et al. 2023), of Stable Diffusion 2
MODELS = {
    "vit_b32": CLIP(ARCHITECTURES["vit_b32"], TextArchitecture(512, 12, 8)),
    "vit_b16": CLIP(ARCHITECTURES["vit_b16"], TextArchitecture(512, 12, 8)),
    "vit_l14": CLIP(ARCHITECTURES["vit_l14"], TextArchitecture(768, 12, 12)),
    "vit_l14_336": CLIP(ARCHITECTURES["vit_l14_336"], TextArchitecture(768, 12, 12)),
    "openclip_vit_h14": CLIP(
        Architecture(1280, 32, 16, 1024, 14, 224), TextArchitecture(1024, 24, 16), "openclip"
    ),
}


def embed_images(of: CLIP, params: Params, images: Array) -> Array:
    """[B, size, size, 3], normalised -> [B, dim], not of unit length."""
    return CLIPImageEncoder(of.vision, of.weights).apply({"params": params["vision"]}, images)


def embed_captions(of: CLIP, params: Params, tokens: Array) -> Array:
    """[B, n] int32 -> [B, dim], not of unit length.

    The embedding is that of the end token, whose number is the highest and which attends to all
    others.
    """
    encoded = _text_encoder(of).apply({"params": params["text"]}, tokens)
    end = jnp.argmax(tokens, axis=1)
    return encoded[jnp.arange(len(tokens)), end] @ params["text_project"]["kernel"]


def _text_encoder(of: CLIP) -> CLIPTextEncoder:
    return CLIPTextEncoder(of.text.vocab_size, *of.text[:4], of.weights)


def init(of: CLIP, key: Array) -> Params:
    """Params of both encoders, drawn as the authors' code draws the text encoder's.

    Normal: token embeddings with 0.02 and position embeddings with 0.01; kernels of queries, keys
        and
    values, and the projections into the shared space, with C^-1/2, C the width; kernels of outputs
    of residual branches with (2 C layers)^-1/2; the first half of a feed-forward layer with
    (2 C)^-1/2; patch embeddings with C^-1/2. Biases are zero, gains one.
    """
    side, (C, D) = of.vision.size, (of.text.dim, of.vision.dim)
    encoder = CLIPImageEncoder(of.vision, of.weights)
    shapes = {
        "vision": jax.eval_shape(encoder.init, key, jnp.zeros((1, side, side, 3)))["params"],
        "text": jax.eval_shape(_text_encoder(of).init, key, jnp.zeros((1, 1), jnp.int32))["params"],
        "text_project": {"kernel": jax.ShapeDtypeStruct((C, D), jnp.float32)},
    }
    wide = {"vision": of.vision.channels, "text": C, "text_project": C}
    deep = {"vision": of.vision.layers, "text": of.text.layers, "text_project": 1}

    def draw(path, x, key):
        names = [part.key for part in path]
        part, last = names[0], "/".join(names[-2:])
        width = wide[part]
        spread = {
            "token/embedding": 0.02,
            "text/position": 0.01,
            "out/kernel": (2 * width * deep[part]) ** -0.5,
            "ff_out/kernel": (2 * width * deep[part]) ** -0.5,
            "ff_in/kernel": (2 * width) ** -0.5,
        }.get(last, width**-0.5)
        if last.endswith("scale"):
            return jnp.ones(x.shape)
        if last.endswith("bias"):
            return jnp.zeros(x.shape)
        return spread * jax.random.normal(key, x.shape)

    keys = jax.random.split(key, len(jax.tree.leaves(shapes)))
    keys = jax.tree.unflatten(jax.tree.structure(shapes), list(keys))
    return jax.tree_util.tree_map_with_path(draw, shapes, keys)


def unit(x: Array) -> Array:
    """[..., dim] -> the same of unit length."""
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)
