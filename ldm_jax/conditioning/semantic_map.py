"""Semantic maps: a class for each pixel, as further input channels (the original's rescaler)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.conditioning.condition import BuildContext, Condition, ModelFacts
from ldm_jax.conditioning.given import Given, HeldOut
from ldm_jax.data import maps
from ldm_jax.data.given import decoded
from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView
from ldm_jax.settings import AtLeast1, Fraction
from ldm_jax.types import Batch, Cond, Conditioner, Derive
from ldm_jax.weights.names.condition import ConditionNames, conditioner
from ldm_jax.weights.names.layers import dense

UNLABELLED = 255  # value of pixels without a class


@dataclass(frozen=True)
class ClassMap(Given):
    """A map of classes that images follow."""

    key: ClassVar[str] = "class_map"

    segmentation: str | None = None
    """an image whose values are classes"""

    def read(self, request: Request, run: RunView) -> Batch:
        condition, path, size = (
            run.condition(type(self)),
            self.segmentation,
            run.size(request.size.size),
        )
        found = decoded(path, "--segmentation", "an image of classes", maps.decode_classes)
        if found.shape != size:
            raise InputError(
                f"--segmentation '{path}' is {found.shape[1]} x {found.shape[0]} pixels: expected "
                f"{condition.takes(size)}; or another --size"
            )
        found = checked_map(found, condition.num_classes, f"--segmentation '{path}'")
        return {"segmentation": found[None]}


@dataclass(frozen=True)
class SemanticMap(Condition):
    """A class for each pixel, halved to the size of the latents; the original's rescaler."""

    num_classes: AtLeast1 = 182  # of pixels
    stages: AtLeast1 = 2  # of halving, as many as the first stage has
    out_channels: AtLeast1 = 3  # that the denoiser sees
    drop: Fraction = 0.1  # share of maps dropped in training

    kind: ClassVar = "class maps"
    stays: ClassVar = True
    reads: ClassVar = ("segmentation",)
    sections: ClassVar = (ClassMap, HeldOut)
    has_weights: ClassVar = True

    def check_model(self, model: ModelFacts, prefix: str) -> None:
        if 2**self.stages != model.factor:
            raise InputError(
                f"{prefix}stages is {self.stages}: expected {math.log2(model.factor):g}, which "
                f"halves a map as often as the first stage, of factor {model.factor}, halves images"
            )

    def derive(self, factor: int) -> dict[str, Derive]:
        """Classes of pixels, [R, R] int32; `num_classes` where there is none."""

        def make(example, rng):
            return checked_map(example["segmentation"], self.num_classes, example["name"])

        return {"segmentation": make}

    def build(self, context: BuildContext) -> Conditioner:
        """Reads `batch["segmentation"]` [B, H, W] int32; the further class `num_classes` means
        none.

        The original halves one-hot maps bilinearly, `stages` times, and then maps classes to
        channels by a 1x1 convolution. Both are linear, and halving is the mean of 2 x 2: so this
        looks up the channels of each pixel first, and never holds a plane for each class.
        """

        def init(key):
            limit = self.num_classes**-0.5  # uniform, as PyTorch draws a convolution
            shape = (self.num_classes, self.out_channels)
            kernel = jax.random.uniform(key, shape, minval=-limit, maxval=limit)
            return {"classes": {"kernel": kernel}}

        def apply(params, inputs):
            table = jnp.pad(params["classes"]["kernel"], ((0, 1), (0, 0)))  # none: no channel
            x = table[inputs["segmentation"]]  # [B, H, W, out_channels]
            for _ in range(self.stages):
                B, H, W, C = x.shape
                x = jnp.mean(x.reshape(B, H // 2, 2, W // 2, 2, C), axis=(2, 4))
            return Cond(concat=x)

        def null(n, h=1, w=1):
            shape = (n, h * 2**self.stages, w * 2**self.stages)
            return {"segmentation": jnp.full(shape, self.num_classes, jnp.int32)}

        return Conditioner(apply, null, ("segmentation",), init)

    def names(self, channels: int) -> ConditionNames:
        sizes = self.num_classes, self.out_channels
        table = dense("classes", "channel_mapper", *sizes, ones=2, bias=False)
        return conditioner(table, concat=self.out_channels)

    def takes(self, size: tuple[int, int]) -> str:
        height, width = size
        return (
            f"--segmentation P.png, {width} x {height} pixels whose values are classes from 0 to "
            f"{self.num_classes - 1}"
        )


def checked_map(classes: np.ndarray, num_classes: int, name: str) -> np.ndarray:
    """A map uint8 [H, W] as input of conditioners, int32; `name` is for messages.

    Raises:
        InputError: a class beyond the last.
    """
    labelled = classes[classes != UNLABELLED]
    if labelled.max(initial=0) >= num_classes:
        raise InputError(
            f"the segmentation map of {name} has class {labelled.max()}: expected 0 to "
            f"{num_classes - 1}, the classes of the model, or {UNLABELLED} for none"
        )
    return np.where(classes == UNLABELLED, num_classes, classes).astype(np.int32)
