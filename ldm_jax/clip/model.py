"""Both towers of CLIP, which lead into one space (Radford et al. 2021, section 2.3)."""

from typing import NamedTuple

import jax.numpy as jnp

from ldm_jax.clip.text import TextTower
from ldm_jax.clip.vision import ARCHITECTURES, Architecture, VisionTower
from ldm_jax.types import Array, Params


class TextArchitecture(NamedTuple):
    """A published tower of captions."""

    dim: int
    layers: int
    heads: int
    length: int = 77  # tokens
    vocab_size: int = 49_408


class CLIP(NamedTuple):
    """A published model.

    weights: "openai" or "openclip", whose activation its towers have
    """

    vision: Architecture
    text: TextArchitecture
    weights: str = "openai"


# table 20 of the paper; the last is OpenCLIP's (Cherti et al. 2023), of Stable Diffusion 2
MODELS = {
    "vit_b32": CLIP(ARCHITECTURES["vit_b32"], TextArchitecture(512, 12, 8)),
    "vit_l14": CLIP(ARCHITECTURES["vit_l14"], TextArchitecture(768, 12, 12)),
    "vit_l14_336": CLIP(ARCHITECTURES["vit_l14_336"], TextArchitecture(768, 12, 12)),
    "openclip_vit_h14": CLIP(
        Architecture(1280, 32, 16, 1024, 14, 224), TextArchitecture(1024, 24, 16), "openclip"
    ),
}


def embed_images(of: CLIP, params: Params, images: Array) -> Array:
    """[B, size, size, 3], normalised -> [B, dim], not of unit length."""
    return VisionTower(of.vision, of.weights).apply({"params": params["vision"]}, images)


def embed_captions(of: CLIP, params: Params, tokens: Array) -> Array:
    """[B, n] int32 -> [B, dim], not of unit length.

    Of a caption counts its end, whose number is the highest of all, and sees all that is before it.
    """
    tower = TextTower(of.text.vocab_size, *of.text[:4], of.weights)
    answers = tower.apply({"params": params["text"]}, tokens)
    end = jnp.argmax(tokens, axis=1)
    return answers[jnp.arange(len(tokens)), end] @ params["text_project"]["kernel"]
