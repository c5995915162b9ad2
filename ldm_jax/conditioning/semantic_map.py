"""Semantic maps: a class for each pixel, as further input channels (the original's rescaler)."""

import jax
import jax.numpy as jnp

from ldm_jax.types import Cond, Conditioner


def semantic_map(num_classes: int, stages: int, out_channels: int) -> Conditioner:
    """Reads `batch["segmentation"]` [B, H, W] int32; the further class `num_classes` means none.

    The original halves one-hot maps bilinearly, `stages` times, and then maps classes to channels
    by a 1x1 convolution. Both are linear, and halving is the mean of 2 x 2: so this looks up the
    channels of each pixel first, and never holds a plane for each class.
    """

    def init(key):
        limit = num_classes**-0.5  # uniform, as PyTorch draws a convolution
        shape = (num_classes, out_channels)
        return {"classes": {"kernel": jax.random.uniform(key, shape, minval=-limit, maxval=limit)}}

    def apply(params, inputs):
        table = jnp.pad(params["classes"]["kernel"], ((0, 1), (0, 0)))  # none: no channel
        x = table[inputs["segmentation"]]  # [B, H, W, out_channels]
        for _ in range(stages):
            B, H, W, C = x.shape
            x = jnp.mean(x.reshape(B, H // 2, 2, W // 2, 2, C), axis=(2, 4))
        return Cond(concat=x)

    def null(n, h=1, w=1):
        shape = (n, h * 2**stages, w * 2**stages)
        return {"segmentation": jnp.full(shape, num_classes, jnp.int32)}

    return Conditioner(init, apply, null, keys=("segmentation",), dim=0)
