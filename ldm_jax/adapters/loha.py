"""Low-rank adaptation by a Hadamard product (Hyeon-Woo et al. 2021, FedPara; LyCORIS' LoHa).

delta = (down_1 up_1) * (down_2 up_2), whose rank may be rank^2.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from ldm_jax.adapters.low_rank import LowRank, product
from ldm_jax.weights.names import lora_arrays
from ldm_jax.weights.names.lora_keys import HADA

FACTORS = {"first": lora_arrays.FIRST, "second": lora_arrays.SECOND}


@dataclass(frozen=True)
class LoHa(LowRank):
    """Two low-rank parts for each kernel, "first" and "second", each as LoRA's."""

    kind: ClassVar = "a LoHa"
    leaves: ClassVar = HADA
    network: ClassVar = "loha"
    peft: ClassVar = "LOHA"

    def start(self, key, module, shape, rank):
        *spatial, i, o = shape
        keys, has_mid = jax.random.split(key, 5), self.tucker and bool(spatial)
        normal = jax.random.normal
        # standard deviations of LyCORIS: 1, and .1 for up and mid; one of them is zero
        lead = () if has_mid else spatial
        first = {"down": normal(keys[0], (*lead, i, rank)), "up": 0.1 * normal(keys[1], (rank, o))}
        second = {"down": normal(keys[2], (*lead, i, rank)), "up": jnp.zeros((rank, o))}
        if has_mid:
            first["mid"] = 0.1 * normal(keys[3], (*spatial, rank, rank))
            second["mid"] = 0.1 * normal(keys[4], (*spatial, rank, rank))
        return {"first": first, "second": second}

    @staticmethod
    def delta(parts):
        return product(parts["first"]) * product(parts["second"])

    @staticmethod
    def rank_in(parts):
        return parts["first"]["up"].shape[0]

    @classmethod
    def parts(cls, leaves, module):
        shape = (*module.shape[:2], *module.spatial)
        return {
            name: lora_arrays.factor(keys, leaves, module, shape) for name, keys in FACTORS.items()
        }

    @classmethod
    def to_leaves(cls, parts, module):
        shape, found = (*module.shape[:2], *module.spatial), {}
        for name, keys in FACTORS.items():
            found |= lora_arrays.leaves_of(keys, parts[name], shape)
        return found

    def peft_settings(self, leaves):
        return {"use_effective_conv2d": "hada_t1" in leaves}
