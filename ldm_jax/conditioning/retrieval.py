"""Retrieved neighbours: embeddings of similar images, attended to (Blattmann et al. 2022)."""

import jax.numpy as jnp

from ldm_jax.types import Cond, Conditioner


def retrieval(dim: int, neighbours: int) -> Conditioner:
    """Reads `batch["neighbours"]` [B, k, dim]; zeros stand for no condition.

    Embeddings are attended to as they are, and in no order, so that k need not be that of training.
    """

    def null(n, h=1, w=1):
        return {"neighbours": jnp.zeros((n, neighbours, dim))}

    return Conditioner(
        init=lambda key: {},
        apply=lambda params, inputs: Cond(tokens=inputs["neighbours"]),
        null=null,
        keys=("neighbours",),
        dim=dim,
    )
