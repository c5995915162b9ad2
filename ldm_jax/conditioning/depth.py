"""Depth of each pixel, as an additional input channel (Stable Diffusion 2)."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from ldm_jax.conditioning.condition import BuildContext, Condition
from ldm_jax.settings import Fraction
from ldm_jax.types import Cond, Conditioner, Derive
from ldm_jax.weights.names.condition import ConditionNames


@dataclass(frozen=True)
class Depth(Condition):
    """A depth map of the size of the latents, as in Stable Diffusion 2."""

    drop: Fraction = 0.0  # share of depth maps dropped in training

    kind: ClassVar = "depth maps"
    stays: ClassVar = True
    reads: ClassVar = ("depth",)
    held_out: ClassVar = False

    def derive(self, factor: int) -> dict[str, Derive]:
        return {"depth": nearness(factor)}

    def build(self, context: BuildContext) -> Conditioner:
        return depth()

    def names(self, channels: int) -> ConditionNames:
        return ConditionNames(concat=1)

    def takes(self, size: tuple[int, int]) -> str:
        return "--depth P, an image that is brighter where things are nearer"


def nearness(factor: int) -> Derive:
    """The map from -1, the farthest, to 1, the nearest, [R / factor, R / factor, 1] float32."""

    def make(example, rng):
        side = len(example["image"]) // factor
        return normalised(resized(example["depth"], (side, side)))[..., None]

    return make


def depth() -> Conditioner:
    """Reads `batch["depth"]` [B, h, w, 1] in [-1, 1], of the size of the latents, see `normalised`.

    A constant map is the unconditional one.
    """

    def null(n, h=1, w=1):
        return {"depth": jnp.zeros((n, h, w, 1))}

    return Conditioner(
        init=lambda key: {},
        apply=lambda params, inputs: Cond(concat=inputs["depth"]),
        null=null,
        keys=("depth",),
        dim=0,
    )


def resized(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map [H, W] -> [h, w] = `size` by PyTorch's bicubic filter, which smooths nothing.

    Keys 1981 with a = -3/4; the border is repeated.
    """
    for n in size:  # rows, then columns
        depth = (_bicubic(depth.shape[0], n) @ depth).T
    return depth


def _bicubic(n: int, m: int) -> np.ndarray:
    """The matrix [m, n] of the filter from n pixels to m along one axis."""
    a = -0.75
    places = (np.arange(m) + 0.5) * n / m - 0.5
    whole = np.floor(places).astype(int)
    matrix = np.zeros((m, n))
    for neighbour in range(-1, 3):
        x = np.abs(places - whole - neighbour)
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * (x**3 - 5 * x**2 + 8 * x - 4)
        column = np.clip(whole + neighbour, 0, n - 1)
        np.add.at(matrix, (np.arange(m), column), np.where(x <= 1, near, far))
    return matrix


def normalised(depth: np.ndarray) -> np.ndarray:
    """A map [h, w] -> the same from its least, -1, to its greatest, 1; a flat one is 0."""
    least, greatest = np.min(depth), np.max(depth)
    if greatest == least:
        return np.zeros(depth.shape, np.float32)
    return (2.0 * (depth - least) / (greatest - least) - 1.0).astype(np.float32)
