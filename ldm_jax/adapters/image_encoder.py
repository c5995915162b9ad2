"""The image encoder whose outputs adapters read: CLIP's, in a file of its own."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.encoders.clip.vision import VisionSettings
from ldm_jax.errors import InputError, read_json
from ldm_jax.settings import AtLeast1, at_home
from ldm_jax.types import Array, Params
from ldm_jax.weights.names import clip as names
from ldm_jax.weights.names.clip_file import read_encoder
from ldm_jax.weights.names.diffusers_model import read_vision

BESIDE = "image_encoder"  # the folder of the encoder, beside an adapter's file
Hidden = bool | Literal["last"]


@dataclass(frozen=True)
class ImageEncoder(VisionSettings):
    """CLIP's image encoder; defaults are OpenCLIP's ViT-H/14, that of the published adapters."""

    weights: Literal["openai", "openclip"] = "openclip"  # whose: decides the activation
    channels: AtLeast1 = 1280  # width of the transformer
    layers: AtLeast1 = 32  # transformer blocks
    dim: AtLeast1 = 1024  # of an embedding
    # its weights, as transformers, OpenCLIP or OpenAI name them: a file, or a folder with one, of
    # which a config.json says which encoder it is; scripts/convert.py makes it of a run of a CLIP
    file: str | None = None

    @property
    def places(self) -> int:
        """Tokens of an image: its patches and the class token."""
        return 1 + (self.size // self.patch) ** 2

    def found(self) -> Self:
        """The same as its file says, and with where this is from any folder."""
        if self.file is None:
            return self
        place = at_home(self.file).absolute()
        settings = place / "config.json"
        said = read_vision(read_json(settings)) if settings.is_file() else {}
        return replace(self, file=str(place), **said)

    def beside(self, metadata: Mapping[str, str]) -> Self:
        """The same as it lies beside an adapter's file, where it is published so.

        Args:
            metadata: of that file, see `AdapterSettings.of_file`.
        """
        place = Path(metadata.get("folder", ""), BESIDE)
        there = "folder" in metadata and place.is_dir()
        return replace(self, file=str(place)).found() if there else self

    def embedded(self, images: np.ndarray, hidden: Hidden) -> np.ndarray:
        """The encoder's output for images [B, size, size, 3], normalised.

        Args:
            hidden: what enters the last block, [B, places, channels]; "last": what leaves it;
                False: embeddings [B, dim].

        Raises:
            InputError: the weights are not there, or of another encoder.
        """
        return np.concatenate([_embedded(self, hidden, x.tobytes()) for x in np.float32(images)])


@functools.lru_cache(64)  # a request is checked before it is drawn, and reads its images both times
def _embedded(encoder: ImageEncoder, hidden: Hidden, pixels: bytes) -> np.ndarray:
    """The output for one image, [1, ...]."""
    image = np.frombuffer(pixels, np.float32).reshape(1, encoder.size, encoder.size, 3)
    with jax.ensure_compile_time_eval():  # also where a program is traced
        return np.asarray(_apply(encoder, hidden)(_params(encoder), image))


@functools.cache
def _apply(encoder: ImageEncoder, hidden: Hidden):
    network = encoder.network

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
    rows = functools.partial(names.images, encoder.architecture)
    return jax.tree.map(jnp.asarray, read_encoder(encoder.file, rows, "an image encoder"))
