"""Depth of each pixel, as an additional input channel (Stable Diffusion 2)."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from ldm_jax.conditioning.condition import BuildContext, Condition
from ldm_jax.conditioning.given import Given
from ldm_jax.data import maps
from ldm_jax.data.given import decoded
from ldm_jax.errors import InputError
from ldm_jax.nn.cubic import cubic_weights
from ldm_jax.sections import Request, RunView
from ldm_jax.settings import Fraction
from ldm_jax.types import Batch, Cond, Conditioner, Derive
from ldm_jax.weights.names.condition import ABSENT, ConditionNames, DiffusersFacts, DiffusersParts


@dataclass(frozen=True)
class DepthMap(Given):
    """A depth map that images follow."""

    key: ClassVar[str] = "depth"

    depth: str | None = None
    """an image that is brighter where things are nearer, as MiDaS makes them, or a .npy [H, W]"""

    def read(self, request: Request, run: RunView) -> Batch:
        found = decoded(self.depth, "--depth", "an image of depth", maps.decode_depth)
        if np.min(found) == np.max(found):
            raise InputError(
                f"--depth '{self.depth}' is {np.min(found):g} everywhere: expected [H, W], finite "
                "and not all the same"
            )
        # the middle of the map, of the shape of the image, is resized as the original does
        (H, W), (height, width) = found.shape, run.size(request.size.size)
        h, w = min(H, round(W * height / width)), min(W, round(H * width / height))
        top, left = (H - h) // 2, (W - w) // 2
        size = height // run.factor, width // run.factor
        small = resized(found[top : top + h, left : left + w], size)
        return {"depth": normalised(small)[None, ..., None]}


@dataclass(frozen=True)
class Depth(Condition):
    """A depth map of the size of the latents, as in Stable Diffusion 2."""

    drop: Fraction = 0.0  # share of depth maps dropped in training

    kind: ClassVar = "depth maps"
    stays: ClassVar = True
    reads: ClassVar = ("depth",)
    sections: ClassVar = (DepthMap,)

    def derive(self, factor: int) -> dict[str, Derive]:
        def make(example, rng):
            side = len(example["image"]) // factor
            return normalised(resized(example["depth"], (side, side)))[..., None]

        return {"depth": make}

    def build(self, context: BuildContext) -> Conditioner:
        """Reads `batch["depth"]` [B, h, w, 1] in [-1, 1], of the size of the latents, see
        `normalised`; a constant map is the unconditional one."""
        return Conditioner(
            apply=lambda params, inputs: Cond(concat=inputs["depth"]),
            null=lambda n, h=1, w=1: {"depth": jnp.zeros((n, h, w, 1))},
            keys=("depth",),
        )

    def names(self, channels: int) -> ConditionNames:
        return ConditionNames(concat=1)

    def diffusers(self) -> DiffusersParts:
        return DiffusersParts(
            "StableDiffusionDepth2ImgPipeline",
            index={"feature_extractor": ABSENT, "depth_estimator": ABSENT},
            note="depth_estimator is not in the folder: give the pipeline depth_map",
        )

    @classmethod
    def of_diffusers(cls, facts: DiffusersFacts) -> "Depth | None":
        return cls() if facts.extra == 1 else None

    def takes(self, size: tuple[int, int]) -> str:
        return "--depth P, an image that is brighter where things are nearer"


def resized(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map [H, W] -> [h, w] = `size` by PyTorch's bicubic filter."""
    for n in size:  # rows, then columns
        depth = (cubic_weights(depth.shape[0], n) @ depth).T
    return depth


def normalised(depth: np.ndarray) -> np.ndarray:
    """A map [h, w] -> the same from the farthest, -1, to the nearest, 1; a flat one is 0."""
    least, greatest = np.min(depth), np.max(depth)
    if greatest == least:
        return np.zeros(depth.shape, np.float32)
    return (2.0 * (depth - least) / (greatest - least) - 1.0).astype(np.float32)
