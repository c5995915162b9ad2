"""An image as CLIP embeds it: one token (Stable Diffusion image variations)."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from PIL import Image

from ldm_jax.conditioning.condition import BuildContext, Condition
from ldm_jax.conditioning.given import Given, HeldOut
from ldm_jax.data.given import open_image
from ldm_jax.encoders.clip.vision import VisionSettings, normalised
from ldm_jax.sections import Request, RunView
from ldm_jax.settings import Fraction
from ldm_jax.types import Array, Batch, Cond, Conditioner, Derive
from ldm_jax.weights.names import clip as clip_names
from ldm_jax.weights.names import diffusers_model
from ldm_jax.weights.names.condition import ABSENT, ConditionNames, DiffusersFacts, DiffusersParts
from ldm_jax.weights.names.condition import clip_image as original_names

ENTRY, PART = "picture", "tower"  # of a batch, and of the params; names in checkpoints and caches


@dataclass(frozen=True)
class Variation(Given):
    """An image that is varied."""

    key: ClassVar[str] = "variation"

    image: str | None = None
    """an image to vary, of models that are conditioned on CLIP's embedding of its middle"""

    def read(self, request: Request, run: RunView) -> Batch:
        size = run.condition(type(self)).size
        return {ENTRY: prepared(open_image(self.image, "--image", run.data), size)[None]}

    def noise_shape(self, inputs: Batch, run: RunView) -> dict[str, tuple[int, ...]]:
        return {"picture_noise": (run.condition(type(self)).dim,)}


@dataclass(frozen=True)
class CLIPImage(VisionSettings, Condition):
    """An image as CLIP embeds it, one token, by an image encoder that is not trained.

    Defaults are OpenAI's ViT-L/14, of Stable Diffusion image variations.
    """

    drop: Fraction = 0.1  # share of images dropped in training

    kind: ClassVar = "images"
    reads: ClassVar = (ENTRY,)
    has_weights: ClassVar = True
    sections: ClassVar = (Variation, HeldOut)
    frozen: ClassVar = True

    @property
    def token_width(self) -> int | None:
        return self.dim

    def heads(self, prefix: str) -> list[tuple[str, int]]:
        return [(f"num_heads of {type(self).__name__}", self.num_heads)]

    def derive(self, factor: int) -> dict[str, Derive]:
        """The input of the image encoder, [size, size, 3] float32."""

        def make(example, rng):
            return prepared(Image.fromarray(np.asarray(example["image"])), self.size)

        return {ENTRY: make}

    def build(self, context: BuildContext) -> Conditioner:
        """Reads `batch[ENTRY]` [B, size, size, 3], see `prepared`; the embedding is the token.

        An image of zeros, which no 8-bit image becomes, is the unconditional one: its token is 0.
        """
        network, shape = self.network, (self.size, self.size, 3)

        def apply(params, inputs):
            e = network.apply({"params": params[PART]}, inputs[ENTRY])
            return Cond(tokens=present(e, inputs[ENTRY])[:, None])

        return Conditioner(
            apply=apply,
            null=lambda n, h=1, w=1: {ENTRY: jnp.zeros((n, *shape))},
            keys=(ENTRY,),
            init=lambda key: {PART: network.init(key, jnp.zeros((1, *shape)))["params"]},
            trained=False,
        )

    def names(self, channels: int) -> ConditionNames:
        return original_names(clip_names.openclip_vision(self.architecture), self.dim)

    def diffusers(self) -> DiffusersParts:
        preprocessor = diffusers_model.preprocessor_config(self.size)
        return DiffusersParts(
            "StableDiffusionImageVariationPipeline",
            {"image_encoder": (PART, clip_names.image_encoder(self.architecture))},
            ("feature_extractor",),
            {
                "image_encoder/config.json": diffusers_model.vision_config(self),
                "feature_extractor/preprocessor_config.json": preprocessor,
            },
            {"safety_checker": ABSENT},
        )

    @classmethod
    def of_diffusers(cls, facts: DiffusersFacts) -> "CLIPImage | None":
        image = facts.components.get("image_encoder")
        if image is None or "text_encoder" in facts.components:
            return None
        return cls(**diffusers_model.read_vision(image))

    def takes(self, size: tuple[int, int]) -> str:
        return "--image P, an image to vary"


def present(e: Array, image: Array) -> Array:
    """Embeddings [B, d], 0 where the image [B, size, size, 3] is all 0."""
    return jnp.where(jnp.any(image != 0.0, axis=(1, 2, 3))[:, None], e, 0.0)


def middle(image: Image.Image, size: int) -> np.ndarray:
    """The centre of an image, [size, size, 3] uint8, as in CLIP's own preprocessing.

    The shorter side becomes `size` by Pillow's bicubic filter, the longer one is truncated to whole
    pixels.
    """
    width, height = image.size
    short = min(width, height)
    scaled = (width * size // short, height * size // short)
    image = image.convert("RGB").resize(scaled, Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def prepared(image: Image.Image, size: int) -> np.ndarray:
    """The input of the encoder: the centre of an image, [size, size, 3] float32, normalised."""
    return normalised(np.float32(middle(image, size)) / 255.0)
