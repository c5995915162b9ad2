"""Holistically-nested edge detection (Xie and Tu 2015): soft edges, from each stage of VGG16."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.losses.networks.vgg import VGG16
from ldm_jax.types import Array, Params

MEAN = (104.00699, 116.66877, 122.67892)  # of blue, green and red, in which order it was trained
MULTIPLE = 64  # sides to which images are extended, so that few sizes are compiled


class HED(nn.Module):
    """A map of edges of each stage, and their weighted sum."""

    @nn.compact
    def __call__(self, x):
        """x [B, H, W, 3], blue first and centred -> logits [B, H, W, 1]; sides multiples of 16."""
        sides = [nn.Dense(1, name=f"side_{n}")(y) for n, y in enumerate(VGG16(name="vgg")(x), 1)]
        shape = (*x.shape[:3], 1)
        sides = [jax.image.resize(side, shape, "bilinear") for side in sides]
        return nn.Dense(1, name="fuse")(jnp.concatenate(sides, axis=-1))


@jax.jit
def _edges(params: Params, images: Array) -> Array:
    centred = images[..., ::-1].astype(jnp.float32) - jnp.asarray(MEAN)
    return jax.nn.sigmoid(HED().apply({"params": params}, centred))


def soft_edges(params: Params, image: np.ndarray) -> np.ndarray:
    """Edges of an image uint8 [H, W, 3], 1 on 0, float32 [H, W, 1]."""
    H, W, _ = image.shape
    extended = np.pad(image, [(0, -H % MULTIPLE), (0, -W % MULTIPLE), (0, 0)], "edge")
    return np.asarray(_edges(params, extended[None])[0, :H, :W])
