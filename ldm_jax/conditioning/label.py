"""Class labels: a learned vector a class (the original's ClassEmbedder).

It is attended to as one token (Rombach et al. 2022), or added to the step's embedding (Dhariwal and
Nichol 2021).
"""

import jax
import jax.numpy as jnp

from ldm_jax.types import Cond, Conditioner


def label(num_classes: int, dim: int, slot: str = "token", no_label: bool = True) -> Conditioner:
    """Reads `batch["label"]` [B] int32; the further class `num_classes` means no label.

    Args:
        slot: "token" or "vector".
        no_label: whether there is such a class; else class 0 stands for no label, unlearned.
    """
    entries = num_classes + no_label

    def init(key):
        return {"embedding": 0.02 * jax.random.normal(key, (entries, dim))}

    def apply(params, inputs):
        found = params["embedding"][inputs["label"]]
        return Cond(vector=found) if slot == "vector" else Cond(tokens=found[:, None])

    def null(n, h=1, w=1):
        return {"label": jnp.full((n,), num_classes if no_label else 0, jnp.int32)}

    return Conditioner(init, apply, null, ("label",), dim=dim if slot == "token" else 0)
