"""Class labels: one learned token a class, attended to (the original's ClassEmbedder)."""

import jax
import jax.numpy as jnp

from ldm_jax.types import Cond, Conditioner


def label(num_classes: int, dim: int) -> Conditioner:
    """Reads `batch["label"]` [B] int32; the further class `num_classes` means no label."""

    def init(key):
        return {"embedding": 0.02 * jax.random.normal(key, (num_classes + 1, dim))}

    def apply(params, inputs):
        return Cond(tokens=params["embedding"][inputs["label"]][:, None])

    def null(n, h=1, w=1):
        return {"label": jnp.full((n,), num_classes, jnp.int32)}

    return Conditioner(init, apply, null, keys=("label",), dim=dim)
