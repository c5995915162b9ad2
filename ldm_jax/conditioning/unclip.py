"""CLIP's image embedding with noise, as a vector (Ramesh et al. 2022; Stable Diffusion 2.1
unCLIP)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from ldm_jax.conditioning.clip_image import ENTRY, PART, CLIPImage, Variation, present
from ldm_jax.conditioning.condition import BuildContext, ModelFacts
from ldm_jax.conditioning.given import HeldOut, NoiseLevel
from ldm_jax.diffusion.augmentation import EMBEDDING_LEVELS, noised_embedding
from ldm_jax.errors import InputError
from ldm_jax.nn.embedding import step_embedding
from ldm_jax.settings import AtLeast1, Fraction
from ldm_jax.types import Cond, Conditioner, Derive
from ldm_jax.weights.names import clip as clip_names
from ldm_jax.weights.names import diffusers_model
from ldm_jax.weights.names.condition import (
    STATISTICS,
    ConditionNames,
    DiffusersFacts,
    DiffusersParts,
    unclip,
)

NOISING = {  # of embeddings, as diffusers has it
    "_class_name": "DDPMScheduler",
    "num_train_timesteps": EMBEDDING_LEVELS,
    "beta_schedule": "squaredcos_cap_v2",
}


@dataclass(frozen=True)
class UnCLIP(CLIPImage):
    """The same with noise, as a vector of model.vector_dim = 2 dim with the level of that noise.

    Defaults are OpenCLIP's ViT-H/14, of Stable Diffusion 2.1 unCLIP. Guidance drops it with the
    caption.
    """

    weights: Literal["openai", "openclip"] = "openclip"  # whose: the activation
    channels: AtLeast1 = 1280  # width of the transformer
    layers: AtLeast1 = 32  # transformer blocks
    dim: AtLeast1 = 1024  # of an embedding
    max_noise: AtLeast1 = 1000  # of 1000 levels of noise, those below are drawn
    drop: Fraction = 0.0  # share of images dropped in training

    sections: ClassVar = (Variation, NoiseLevel, HeldOut)

    @property
    def token_width(self) -> int | None:
        return None

    @property
    def vector_width(self) -> int | None:
        return 2 * self.dim

    def check(self, prefix: str) -> None:
        super().check(prefix)
        if self.dim % 2 or self.max_noise > EMBEDDING_LEVELS:
            raise InputError(
                f"dim of UnCLIP is {self.dim} and max_noise {self.max_noise}: expected an even "
                f"number and at most {EMBEDDING_LEVELS} levels"
            )

    def check_vector(self, model: ModelFacts, prefix: str) -> None:
        if model.network.vector_dim != self.vector_width:
            raise InputError(
                f"model.vector_dim is {model.network.vector_dim}: expected {self.vector_width}, an "
                "embedding and the level of its noise, and no other vector"
            )

    @property
    def noise_levels(self) -> int | None:
        return self.max_noise

    def derive(self, factor: int) -> dict[str, Derive]:
        """The same, and noise for an embedding, [dim], and its level."""
        return super().derive(factor) | {
            "picture_noise": lambda example, rng: rng.standard_normal(self.dim, np.float32),
            "noise_level": lambda example, rng: np.int32(rng.integers(self.max_noise)),
        }

    def build(self, context: BuildContext) -> Conditioner:
        """Reads what CLIPImage does, `picture_noise` [B, d] standard normal, and `noise_level` [B]
        int32, see `noised_embedding`.

        The vector is [e, sines and cosines of the level]; it is 0 where the image is all 0.
        """
        image, network, dim = super().build(context), self.network, self.dim

        def init(key):
            return image.init(key) | {"mean": jnp.zeros(dim), "std": jnp.ones(dim)}

        def apply(params, inputs):
            level = inputs["noise_level"]
            e = network.apply({"params": params[PART]}, inputs[ENTRY])
            e = noised_embedding(e, inputs["picture_noise"], level, params["mean"], params["std"])
            e = jnp.concatenate([e, step_embedding(level, dim)], axis=-1)
            return Cond(vector=present(e, inputs[ENTRY]))

        def null(n, h=1, w=1):
            noise = {"picture_noise": jnp.zeros((n, dim)), "noise_level": jnp.zeros(n, jnp.int32)}
            return image.null(n) | noise

        return image._replace(
            apply=apply, null=null, keys=tuple(null(1)), init=init, dropped=(ENTRY,)
        )

    def names(self, channels: int) -> ConditionNames:
        return unclip(clip_names.openclip_vision(self.architecture), self.dim)

    def diffusers(self) -> DiffusersParts:
        image, name = super().diffusers(), diffusers_model.NORMALIZER
        return DiffusersParts(
            "StableUnCLIPImg2ImgPipeline",
            {
                **image.components,
                "image_normalizer": ("", diffusers_model.normalizer_names(self.dim)),
            },
            (*image.small, "image_noising_scheduler"),
            {
                **image.files,
                "image_normalizer/config.json": {"_class_name": name, "embedding_dim": self.dim},
                "image_noising_scheduler/scheduler_config.json": NOISING,
            },
        )

    @classmethod
    def of_diffusers(cls, facts: DiffusersFacts) -> "UnCLIP | None":
        if not facts.components.keys() >= {"text_encoder", "image_encoder"}:
            return None
        for name in ("beta_schedule", "num_train_timesteps"):
            if facts.noising.get(name) != NOISING[name]:
                raise InputError(
                    f"image_noising_scheduler has {name} {facts.noising.get(name)}: expected "
                    f"{NOISING[name]}, as is here"
                )
        return cls(**diffusers_model.read_vision(facts.components["image_encoder"]))

    def left_out(self) -> tuple[dict[str, np.ndarray], str]:
        found = {key: np.full((1, self.dim), x, np.float32) for key, x in STATISTICS.items()}
        warning = (
            "warning: the mean and deviation of embeddings are not in a file of this layout, taken "
            "as 0 and 1: a folder of diffusers has them, in image_normalizer"
        )
        return found, warning if self.weights == "openai" else ""

    def takes(self, size: tuple[int, int]) -> str:
        return "--image P, an image to vary; --prompt TEXT in addition"
