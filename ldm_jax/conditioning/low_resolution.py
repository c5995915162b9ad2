"""A low-resolution image, as additional input channels (Rombach et al. 2022, 4.4)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.conditioning.condition import BuildContext, Condition, ModelFacts
from ldm_jax.conditioning.given import Given, HeldOut, NoiseLevel
from ldm_jax.data import degradation, transforms
from ldm_jax.data.given import open_image
from ldm_jax.diffusion.augmentation import BETAS, LEVELS, noised
from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView
from ldm_jax.settings import AtLeast1, Fraction
from ldm_jax.types import Array, Batch, Cond, Conditioner, Derive
from ldm_jax.weights.names.condition import ConditionNames, DiffusersFacts, DiffusersParts

PUBLISHED_NOISE = 350  # levels that Stable Diffusion's upscaler was trained with


@dataclass(frozen=True)
class SmallImage(Given):
    """A small image that is enlarged."""

    key: ClassVar[str] = "small_image"

    low_resolution: str | None = None
    """a small image to enlarge"""

    def read(self, request: Request, run: RunView) -> Batch:
        condition, size = run.condition(type(self)), run.size(request.size.size)
        image = np.asarray(open_image(self.low_resolution, "--low-resolution", run.data))
        if image.shape[:2] != tuple(side // condition.factor for side in size):
            larger = [side * condition.factor for side in image.shape[:2]]
            possible = not any(side % run.multiple for side in larger)
            raise InputError(
                f"--low-resolution '{self.low_resolution}' is {image.shape[1]} x {image.shape[0]} "
                f"pixels: expected {condition.takes(size)}"
                + f"; or --size {' '.join(map(str, larger))}"
                * possible
            )
        return {"low_resolution": transforms.normalize(image)[None]}

    def noise_shape(self, inputs: Batch, run: RunView) -> dict[str, tuple[int, ...]]:
        return {"low_resolution_noise": inputs["low_resolution"].shape[1:]}


@dataclass(frozen=True)
class LowResolution(Condition):
    """The image, downsampled and perhaps degraded; the original's bsr_sr.

    Stable Diffusion's upscaler also has captions, max_noise=350, and an embedding of the noise
    level, one of model.vector_entries=1000.
    """

    factor: AtLeast1 = 4  # by which it is smaller, the first stage's
    enlarge: bool = False  # to the size of the latents, from a factor larger than the first stage's
    filter: Literal["bilinear", "bicubic"] = "bilinear"  # by which it is enlarged
    # how it is made of the image; blur: bicubic, and Gaussian of 3 x 3 pixels (DALL-E 2)
    degradation: Literal["bicubic", "blur", "bsr"] = "bicubic"
    max_noise: AtLeast1 | None = None  # of 1000 levels of noise, those below are drawn; None: none
    drop: Fraction = 0.0  # share of them dropped in training

    kind: ClassVar = "low-resolution images"
    stays: ClassVar = True
    reads: ClassVar = ("low_resolution",)
    noise_level: ClassVar = 20  # as the model card of Stable Diffusion's upscaler suggests
    sections: ClassVar = (SmallImage, NoiseLevel, HeldOut)

    def check_model(self, model: ModelFacts, prefix: str) -> None:
        if self.enlarge:
            most = model.factor * model.network.multiple
            if self.factor % model.factor or most % self.factor or self.factor == model.factor:
                raise InputError(
                    f"{prefix}factor is {self.factor}: expected a multiple of {model.factor}, the "
                    f"factor of the first stage, and a divisor of {most}, to which images are "
                    f"downsampled, where {prefix}enlarge is True"
                )
        elif self.factor != model.factor:
            raise InputError(
                f"{prefix}factor is {self.factor}: expected {model.factor}, the factor of the "
                "first stage, since the small image is concatenated to its latents"
            )
        if (self.max_noise or 0) > LEVELS:
            raise InputError(
                f"{prefix}max_noise is {self.max_noise}: expected at most {LEVELS}, the levels of "
                "noise"
            )

    @property
    def noise_levels(self) -> int | None:
        return self.max_noise

    def derive(self, factor: int) -> dict[str, Derive]:
        """The downsampled image, [R / factor, R / factor, 3] float32 in [-1, 1], and with
        `max_noise` noise for it and its level."""

        def small(example, rng):
            if self.degradation == "bsr":
                return transforms.normalize(degradation.bsr(example["image"], self.factor, rng))
            small = degradation.bicubic(example["image"], self.factor)
            if self.degradation == "blur":
                small = degradation.blurred(small)
            return transforms.normalize(small)

        def noise(example, rng):
            side = len(example["image"]) // self.factor
            return rng.standard_normal((side, side, 3), np.float32)

        def level(example, rng):
            return np.int32(rng.integers(self.max_noise))

        with_noise = {"low_resolution_noise": noise, "noise_level": level}
        return {"low_resolution": small} | (with_noise if self.max_noise is not None else {})

    def build(self, context: BuildContext) -> Conditioner:
        """Reads `batch["low_resolution"]` [B, h, w, 3] in [-1, 1], of the size of the latents or
        smaller by what it is enlarged; a grey image is the unconditional one.

        With `max_noise` it reads also `low_resolution_noise`, as large and standard normal, and
        `noise_level` [B] int32, see `noised`; the vector is an index, the level.
        """
        with_noise = self.max_noise is not None
        times = self.factor // context.first_stage.factor if self.enlarge else 1

        def null(n, h=1, w=1):
            grey = jnp.zeros((n, h // times, w // times, 3))
            noise = {"low_resolution_noise": grey, "noise_level": jnp.zeros(n, jnp.int32)}
            return {"low_resolution": grey} | (noise if with_noise else {})

        def apply(params, inputs):
            if not with_noise:
                return Cond(concat=enlarged(inputs["low_resolution"], times, self.filter))
            image, noise, level = (inputs[name] for name in keys)
            image = noised(image, noise, level)
            return Cond(concat=enlarged(image, times, self.filter), vector=level)

        keys = tuple(null(1))
        return Conditioner(apply, null, keys)

    def names(self, channels: int) -> ConditionNames:
        return ConditionNames(concat=3)

    def diffusers(self) -> DiffusersParts:
        name, kind = "low_res_scheduler", "DDPMScheduler"
        noise = {  # on the small images
            "_class_name": kind,
            "num_train_timesteps": LEVELS,
            "beta_schedule": "scaled_linear",
            "beta_start": BETAS[0],
            "beta_end": BETAS[1],
        }
        return DiffusersParts(
            "StableDiffusionUpscalePipeline",
            files={f"{name}/scheduler_config.json": noise},
            index={name: ["diffusers", kind], "max_noise_level": self.max_noise},
        )

    @classmethod
    def of_diffusers(cls, facts: DiffusersFacts) -> "LowResolution | None":
        if facts.extra != 3 or facts.levels is None:
            return None
        return cls(factor=facts.factor, max_noise=min(PUBLISHED_NOISE, facts.levels))

    def takes(self, size: tuple[int, int]) -> str:
        height, width = (side // self.factor for side in size)
        return f"--low-resolution P, an image of {width} x {height} pixels"


FILTERS = {"bilinear": "bilinear", "bicubic": "cubic"}  # names there


def enlarged(x: Array, times: int, filter: str = "bilinear") -> Array:
    """[B, h, w, c] -> [B, times h, times w, c], between the centres of pixels."""
    B, h, w, c = x.shape
    return x if times == 1 else jax.image.resize(x, (B, times * h, times * w, c), FILTERS[filter])
