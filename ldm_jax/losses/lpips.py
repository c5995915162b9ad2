"""LPIPS: a distance of images in the features of a trained network (Zhang et al. 2018)."""

from typing import Literal, NamedTuple, get_args

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.losses.networks.alexnet import AlexNet
from ldm_jax.losses.networks.squeezenet import SqueezeNet
from ldm_jax.losses.networks.vgg import VGG16
from ldm_jax.types import Array, Perceptual

Network = Literal["vgg", "alex", "squeeze", "vgg_shift_tolerant", "alex_shift_tolerant"]

# Images in [-1, 1] to the backbones' normalised inputs: ImageNet's mean and deviation.
SHIFT = np.asarray([-0.030, -0.088, -0.188], np.float32)
SCALE = np.asarray([0.458, 0.448, 0.450], np.float32)
EPSILON = 1e-10


class Backbone(NamedTuple):
    """A classifier without its last layers: images [B, H, W, 3] -> features."""

    module: nn.Module
    smallest: int  # height and width that leave one pixel of the last features


NETWORKS = {
    "vgg": Backbone(VGG16(), 16),
    "alex": Backbone(AlexNet(), 31),
    "squeeze": Backbone(SqueezeNet(), 17),
    "vgg_shift_tolerant": Backbone(VGG16(shift_tolerant=True), 18),
    "alex_shift_tolerant": Backbone(AlexNet(shift_tolerant=True), 21),
}


def lpips(network: Network) -> Perceptual:
    """The perceptual distance by the features of `network`.

    d(x, y) = sum_l mean_hw sum_c w_lc (u_lhwc(x) - u_lhwc(y))^2, where u_l are the features of
    layer l, of unit length over the channels (Zhang et al. 2018, equation 1). Version 0.1 of the
    published weights, and the shift-tolerant backbones of Ghildyal and Liu (2022).

    Its params are the backbone's and "heads", {"lin0", ...}: w_l [C_l]. `init` draws the
    backbone and gives every channel the same weight; for trained ones see
    ldm_jax.weights.names.lpips.

    Raises:
        InputError: no network has this name; `distance` raises it for images that are too small.
    """
    if network not in NETWORKS:
        raise InputError(f"network is {network!r}: expected one of {', '.join(get_args(Network))}")
    trunk, smallest = NETWORKS[network]

    def init(key: Array):
        features, variables = trunk.init_with_output(key, jnp.zeros((1, smallest, smallest, 3)))
        channels = [f.shape[-1] for f in features]
        heads = {f"lin{layer}": jnp.full(C, 1 / C) for layer, C in enumerate(channels)}
        return {"trunk": variables["params"], "heads": heads}

    def features(params, images: Array) -> list[Array]:
        return trunk.apply({"params": params["trunk"]}, (images - SHIFT) / SCALE)

    def distance(params, x: Array, y: Array) -> Array:
        if x.shape != y.shape:
            raise InputError(f"images are {x.shape}, and {y.shape}: expected equal shapes")
        if min(x.shape[1:3]) < smallest:
            raise InputError(
                f"images of {x.shape[1]} x {x.shape[2]} are too small for LPIPS with {network}: "
                f"expected at least {smallest} x {smallest}"
            )
        # two calls, not one of both: where y is constant, it is not differentiated
        pairs = zip(features(params, x), features(params, y), strict=True)
        squares = (jnp.square(_unit(a) - _unit(b)) for a, b in pairs)
        return sum(
            jnp.mean(jnp.sum(params["heads"][f"lin{layer}"] * square, axis=-1), axis=(1, 2))
            for layer, square in enumerate(squares)
        )

    return Perceptual(init, distance)


def _unit(f: Array) -> Array:
    """f [B, h, w, C] at unit length over its channels, or at zero where it is zero."""
    # sqrt has no derivative at zero, so it is given a one there
    square = jnp.sum(jnp.square(f), axis=-1, keepdims=True)
    length = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    return f / jnp.where(square > 0, length + EPSILON, 1.0)
