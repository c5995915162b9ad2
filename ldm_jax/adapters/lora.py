"""Low-rank adaptation of weights (Hu et al. 2021): W + scale * alpha / rank * down up.

Of convolutions too, as LyCORIS' LoCon has them: a convolution to `rank` channels, and one of 1x1.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from ldm_jax.adapters.low_rank import LowRank, kaiming, product
from ldm_jax.weights.names import lora_arrays
from ldm_jax.weights.names.lora_keys import DOWN, MID, UP


@dataclass(frozen=True)
class LoRA(LowRank):
    """Low-rank parts for kernels of a model.

    Of a kernel [..., I, O]: "down" [..., I, rank], drawn, and "up" [rank, O], zero. In Tucker's
    form "down" [I, rank], "mid" [k, k, rank, rank] and "up".
    """

    kind: ClassVar = "a LoRA"
    leaves: ClassVar = (DOWN, UP, MID)
    network: ClassVar = "lora"
    peft: ClassVar = "LORA"

    def start(self, key, module, shape, rank):
        return zero_product(key, shape, rank, self.tucker)

    @staticmethod
    def delta(parts):
        return product(parts)

    @staticmethod
    def rank_in(parts):
        return parts["up"].shape[0]

    @classmethod
    def parts(cls, leaves, module):
        return lora_arrays.factor(
            lora_arrays.LORA, leaves, module, (*module.shape[:2], *module.spatial)
        )

    @classmethod
    def to_leaves(cls, parts, module):
        return lora_arrays.leaves_of(lora_arrays.LORA, parts, module.shape, flat=False)


def zero_product(key, shape, rank, tucker):
    """A factor of a kernel [..., I, O] that is zero, drawn as the original (loralib) does."""
    *spatial, i, o = shape
    if not (tucker and spatial):
        fan_in = i
        for k in spatial:
            fan_in *= k
        return {"down": kaiming(key, (*spatial, i, rank), fan_in), "up": jnp.zeros((rank, o))}
    one, other = jax.random.split(key)
    middle = kaiming(other, (*spatial, rank, rank), rank * spatial[0] * spatial[1])
    return {"down": kaiming(one, (i, rank), i), "mid": middle, "up": jnp.zeros((rank, o))}
