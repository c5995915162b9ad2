"""A small image of what is to be drawn, as further input channels (Rombach et al. 2022, 4.4)."""

import jax.numpy as jnp

from ldm_jax.types import Cond, Conditioner


def low_resolution() -> Conditioner:
    """Reads `batch["low_resolution"]` [B, h, w, 3] in [-1, 1], of the size of the latents.

    The network sees it as it is; a grey image stands for no condition.
    """

    def null(n, h=1, w=1):
        return {"low_resolution": jnp.zeros((n, h, w, 3))}

    return Conditioner(
        init=lambda key: {},
        apply=lambda params, inputs: Cond(concat=inputs["low_resolution"]),
        null=null,
        keys=("low_resolution",),
        dim=0,
    )
