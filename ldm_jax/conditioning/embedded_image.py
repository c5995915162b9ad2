"""An image's CLIP embedding, which the decoder of DALL-E 2 inverts (Ramesh et al. 2022, section
2.1)."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from ldm_jax.conditioning.clip_image import (
    ENTRY,
    PART,
    CLIPImage,
    Variation,
    prepared,
    present,
)
from ldm_jax.conditioning.condition import BuildContext, Condition
from ldm_jax.conditioning.given import HeldOut
from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView
from ldm_jax.types import Cond, Conditioner, Derive, Params
from ldm_jax.weights.names import clip as names
from ldm_jax.weights.names.clip_file import read_encoder
from ldm_jax.weights.names.condition import ConditionNames, DiffusersFacts

EMBEDDING = "image_embedding"  # entry of a batch [B, d], which a prior draws


@dataclass(frozen=True)
class Encoded(Variation):
    """An image that is varied, by a decoder with CLIP's image encoder."""

    def check(self, request: Request, run: RunView) -> None:
        if not run.condition(type(self)).encodes:
            raise InputError(
                f"run '{run.run}' has no image encoder: expected a cascade that begins with its "
                "prior, such as configs/cascades/dalle2.py"
            )
        super().check(request, run)


@dataclass(frozen=True)
class EmbeddedImage(CLIPImage):
    """CLIP's embedding of an image as a vector, by an image encoder that is not trained."""

    # CLIP's weights, as transformers, OpenCLIP or OpenAI name them: a file, or a folder with one,
    # as scripts/convert.py makes of a run of a CLIP
    file: str | None = None
    encodes: bool = True  # False: the image encoder is not there, embeddings come from a prior

    sections: ClassVar = (Encoded, HeldOut)

    @property
    def has_weights(self) -> bool:
        return self.encodes

    @property
    def from_file(self) -> bool:
        return self.encodes

    @property
    def token_width(self) -> int | None:
        return None

    @property
    def vector_width(self) -> int | None:
        return self.dim

    @property
    def embeds(self) -> bool:
        return self.encodes

    def embedded(self, params: Params, images: Sequence[Image.Image]) -> np.ndarray:
        pixels = np.stack([prepared(image, self.size) for image in images])
        return np.asarray(jax.jit(self.network.apply)({"params": params[PART]}, pixels))

    def fed(self, entry: str) -> Condition:
        return replace(self, encodes=False) if entry == EMBEDDING else self

    def derive(self, factor: int) -> dict[str, Derive]:
        if not self.encodes:
            raise InputError(
                "encodes of EmbeddedImage is False: expected True and its file, CLIP's weights, to "
                "train a decoder"
            )
        return super().derive(factor)

    def build(self, context: BuildContext) -> Conditioner:
        """Reads `batch[ENTRY]` [B, size, size, 3], see `clip_image.prepared`, or, where it does not
        encode, `batch[EMBEDDING]` [B, dim]; zeros are the unconditional input."""
        image, network = super().build(context), self.network
        if not self.encodes:
            return image._replace(
                apply=lambda params, inputs: Cond(vector=inputs[EMBEDDING]),
                null=lambda n, h=1, w=1: {EMBEDDING: jnp.zeros((n, self.dim))},
                keys=(EMBEDDING,),
                init=lambda key: {},
            )

        def apply(params, inputs):
            e = network.apply({"params": params[PART]}, inputs[ENTRY])
            return Cond(vector=present(e, inputs[ENTRY]))

        return image._replace(apply=apply)

    def published(self) -> Params | None:
        if not self.encodes:
            return None
        rows = functools.partial(names.images, self.architecture)
        return {PART: read_encoder(self.file, rows, "an image encoder", "file of EmbeddedImage")}

    def same_weights(self, other: Condition) -> bool:
        return getattr(other, "architecture", None) == self.architecture

    def names(self, channels: int) -> ConditionNames:
        raise InputError("EmbeddedImage is in no file of Stable Diffusion's layout")

    def diffusers(self) -> None:
        return None

    @classmethod
    def of_diffusers(cls, facts: DiffusersFacts) -> None:
        return None
