"""Adaptation by a Kronecker product (Yeh et al. 2023, LyCORIS' LoKr): delta = left (x) right.

Of a weight [O, I, ...] with O = a b and I = c d, left is [a, c] and right [b, d, ...]; either may
be of low rank.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp

from ldm_jax.adapters.lora import zero_product
from ldm_jax.adapters.low_rank import LowRank, kaiming, product
from ldm_jax.settings import Range
from ldm_jax.weights.names import lora_arrays
from ldm_jax.weights.names.lora_keys import LOKR

Divisor = Annotated[int, Range("-1 or at least 2", lambda x: x == -1 or x >= 2)]


@dataclass(frozen=True)
class LoKr(LowRank):
    """Factors "left" and "right" for each kernel, each "whole" or as LoRA's."""

    # of the sizes of left; -1: the divisor that is nearest to the root
    decompose_factor: Divisor = -1
    decompose_both: bool = False  # left is of low rank too, where that is smaller
    # whether alpha / rank counts also where both factors are whole, as in PEFT; in LyCORIS the
    # scale is 1 then
    scale_whole: bool = False

    kind: ClassVar = "a LoKr"
    leaves: ClassVar = LOKR
    network: ClassVar = "lokr"
    peft: ClassVar = "LOKR"

    def start(self, key, module, shape, rank):
        *spatial, i, o = shape
        (c, d), (a, b) = divided(i, self.decompose_factor), divided(o, self.decompose_factor)
        one, two, other = jax.random.split(key, 3)
        if self.decompose_both and rank < max(a, c) / 2:
            left = {"down": kaiming(one, (c, rank), rank), "up": kaiming(two, (rank, a), a)}
        else:
            left = {"whole": kaiming(one, (c, a), c)}
        if rank < max(b, d) / 2:
            right = zero_product(other, (*spatial, d, b), rank, self.tucker)
        else:
            right = {"whole": jnp.zeros((*spatial, d, b))}
        return {"left": left, "right": right}

    @staticmethod
    def delta(parts):
        left, right = product(parts["left"]), product(parts["right"])
        *spatial, d, b = right.shape
        c, a = left.shape
        whole = left[:, None, :, None] * right[..., None, :, None, :]  # [..., c, d, a, b]
        return whole.reshape(*spatial, c * d, a * b)

    @staticmethod
    def rank_in(parts):
        each = (parts[name].get("up") for name in ("left", "right"))
        return next((x.shape[0] for x in each if x is not None), None)

    def factor_of(self, name, parts):
        if self.rank_in(parts) is None and not self.scale_whole:
            return 1.0
        return super().factor_of(name, parts)

    @classmethod
    def parts(cls, leaves, module):
        o, i = module.shape[:2]
        a, c = (_size(leaves, "lokr_w1", axis) for axis in (0, 1))
        right = (o // max(a, 1), i // max(c, 1), *module.spatial)
        return {
            "left": lora_arrays.factor(lora_arrays.LEFT, leaves, module, (a, c)),
            "right": lora_arrays.factor(lora_arrays.RIGHT, leaves, module, right),
        }

    @classmethod
    def to_leaves(cls, parts, module):
        o, i = module.shape[:2]
        c, a = jax.eval_shape(product, parts["left"]).shape
        right = (o // a, i // c, *module.spatial)
        left = lora_arrays.leaves_of(lora_arrays.LEFT, parts["left"], (a, c))
        return left | lora_arrays.leaves_of(lora_arrays.RIGHT, parts["right"], right)

    @classmethod
    def described(cls, layers, layout):
        found = [
            (module.shape[:2], jax.eval_shape(product, parts["left"]).shape)
            for module, parts in layers.items()
        ]

        def made_by(factor):
            return all(
                (divided(i, factor)[0], divided(o, factor)[0]) == left for (o, i), left in found
            )

        tried = [-1, *sorted({size for _, left in found for size in left if size > 1})]
        factor = next((factor for factor in tried if made_by(factor)), -1)
        both = any("up" in parts["left"] for parts in layers.values())
        return {
            "decompose_factor": factor,
            "decompose_both": both,
            "scale_whole": layout == "peft",
        }

    def peft_settings(self, leaves):
        return {
            "decompose_factor": self.decompose_factor,
            "decompose_both": self.decompose_both,
            "use_effective_conv2d": "lokr_t2" in leaves,
        }


def divided(size: int, factor: int) -> tuple[int, int]:
    """Two factors of a size, the smaller first: `factor` where it divides, or the largest divisor
    up to it and to the root."""
    if factor > 0 and size % factor == 0:
        return tuple(sorted((factor, size // factor)))
    most = math.isqrt(size) if factor < 0 else min(factor, math.isqrt(size))
    small = max(n for n in range(1, most + 1) if size % n == 0)
    return small, size // small


def _size(leaves, name, axis):
    """The size of left, [a, c], along an axis; 0 where the file does not show it."""
    halves = (f"{name}_a", f"{name}_b")
    found = leaves.get(name, leaves.get(halves[axis]))
    return found.shape[axis] if found is not None and found.ndim == 2 else 0
