"""The image encoder whose outputs adapters read: CLIP's, in a file of its own."""

import functools
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.encoders.clip.vision import Architecture, CLIPImageEncoder
from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1, at_home
from ldm_jax.types import Array, Params
from ldm_jax.weights import table as tables
from ldm_jax.weights.formats.files import read_weights
from ldm_jax.weights.names import clip as names
from ldm_jax.weights.names.clip_file import find_clip, layout_of


@dataclass(frozen=True)
class ImageEncoder:
    """CLIP's image encoder; defaults are OpenCLIP's ViT-H/14, that of the published adapters."""

    # its weights, as transformers, OpenCLIP or OpenAI name them: a file, or a folder with one; a
    # run of a CLIP becomes one by scripts/convert.py
    file: str | None = None
    weights: Literal["openai", "openclip"] = "openclip"  # whose: decides the activation
    channels: AtLeast1 = 1280  # width of the transformer
    layers: AtLeast1 = 32  # transformer blocks
    num_heads: AtLeast1 = 16  # attention heads
    dim: AtLeast1 = 1024  # of an embedding
    patch: AtLeast1 = 14  # pixels a side
    size: AtLeast1 = 224  # pixels a side of the encoder's input

    @property
    def architecture(self) -> Architecture:
        sizes = self.channels, self.layers, self.num_heads, self.dim
        return Architecture(*sizes, self.patch, self.size)

    @property
    def places(self) -> int:
        """Tokens of an image: its patches and the class token."""
        return 1 + (self.size // self.patch) ** 2

    def check(self, prefix: str) -> None:
        for name, of in (("num_heads", "channels"), ("patch", "size")):
            if getattr(self, of) % getattr(self, name):
                raise InputError(
                    f"{prefix}{name} is {getattr(self, name)}: expected a divisor of "
                    f"{prefix}{of}, {getattr(self, of)}"
                )

    def embedded(self, images: np.ndarray, hidden: bool) -> np.ndarray:
        """The encoder's output for images [B, size, size, 3], normalised.

        Args:
            hidden: what enters the last block, [B, places, channels]; else embeddings [B, dim].

        Raises:
            InputError: the weights are not there, or of another encoder.
        """
        return np.concatenate([_embedded(self, hidden, x.tobytes()) for x in np.float32(images)])


@functools.lru_cache(64)  # a request is checked before it is drawn, and reads its images both times
def _embedded(encoder: ImageEncoder, hidden: bool, pixels: bytes) -> np.ndarray:
    """The output for one image, [1, ...]."""
    image = np.frombuffer(pixels, np.float32).reshape(1, encoder.size, encoder.size, 3)
    with jax.ensure_compile_time_eval():  # also where a program is traced
        return np.asarray(_apply(encoder, hidden)(_params(encoder), image))


@functools.cache
def _apply(encoder: ImageEncoder, hidden: bool):
    network = CLIPImageEncoder(encoder.architecture, encoder.weights)

    @jax.jit
    def apply(params: Params, images: Array) -> Array:
        return network.apply({"params": params}, jnp.asarray(images), hidden)

    return apply


@functools.cache
def _params(encoder: ImageEncoder) -> Params:
    if encoder.file is None:
        raise InputError(
            "the image encoder's weights are not named: expected encoder.file, a file or folder of "
            "CLIP's weights"
        )
    path = find_clip(at_home(encoder.file))
    state = read_weights(path)
    openclip = layout_of(state) == "openclip"
    rows = (names.openclip_vision if openclip else names.image_encoder)(encoder.architecture)
    own = {key: state[key] for key in tables.shapes(rows) if key in state}
    title = f"{path}: not the weights of an image encoder with these settings"
    return jax.tree.map(jnp.asarray, tables.to_here(rows, own, title=title))
