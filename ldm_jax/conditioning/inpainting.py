"""Inpainting: what a mask leaves of an image, and the mask (Rombach et al. 2022, section 4.5)."""

import jax.numpy as jnp

from ldm_jax.autoencoders.latents import scaled
from ldm_jax.types import Array, Cond, Conditioner, FirstStage


def hide(image: Array, mask: Array) -> Array:
    """The image [B, H, W, 3], black where the mask [B, H, W, 1] is 1."""
    return jnp.where(mask > 0.5, -1.0, image)


def inpainting(first_stage: FirstStage) -> Conditioner:
    """Reads `batch["image"]` [B, H, W, 3] and `batch["mask"]` [B, H, W, 1], 1 where it is hidden.

    The network sees the latents of the image without the hidden part (the mean of the posterior),
    and the mask, -1 and 1, at every f-th pixel, as PyTorch's nearest resizing picks them. An image
    that is hidden as a whole stands for no condition.
    """
    f = first_stage.factor

    def encode(params, inputs):
        image = hide(inputs["image"], inputs["mask"])
        latents = scaled(params, first_stage.posterior(params, image).mean)
        return {"latents": latents, "mask": 2.0 * inputs["mask"][:, ::f, ::f] - 1.0}

    def apply(params, inputs):
        return Cond(concat=jnp.concatenate([inputs["latents"], inputs["mask"]], axis=-1))

    def null(n, h=1, w=1):
        shape = (n, h * f, w * f)
        return {"image": jnp.full((*shape, 3), -1.0), "mask": jnp.ones((*shape, 1))}

    return Conditioner(
        init=lambda key: {},
        apply=apply,
        null=null,
        keys=("image", "mask"),
        dim=0,
        encode=encode,
    )
