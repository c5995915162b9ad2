"""The patch discriminator: a logit for each patch (Isola et al. 2017, section 3.2.2)."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from ldm_jax.types import Array, Params


def alone(x: Array) -> Array:
    """The average over one device."""
    return x


class BatchNorm(nn.Module):
    """Normalises each channel by the mean and variance of the whole batch (Ioffe, Szegedy 2015).

    There are no running averages: a discriminator is only used in training.
    """

    average: Callable[[Array], Array] = alone  # over the devices
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> the same."""
        channels = x.shape[-1]
        scale = self.param("scale", lambda key: 1.0 + 0.02 * normal(key, (channels,)))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        mean = self.average(jnp.mean(x, axis=(0, 1, 2)))
        variance = self.average(jnp.mean(jnp.square(x - mean), axis=(0, 1, 2)))
        return (x - mean) / jnp.sqrt(variance + self.epsilon) * scale + bias


class PatchGAN(nn.Module):
    """Images to logits, above zero where a patch is classified as real.

    The receptive field of a logit is 70 x 70 pixels with three layers, 34 x 34 with two.
    """

    channels: int = 64
    layers: int = 3
    average: Callable[[Array], Array] = alone  # over the devices

    @nn.compact
    def __call__(self, x):
        """x [B, H, W, 3] in [-1, 1] -> [B, h, w, 1]; h is about H / 2^layers - 2."""

        def conv(x, channels, stride, bias, name):
            init = nn.initializers.normal(0.02)
            layer = nn.Conv(
                channels, (4, 4), stride, padding=1, use_bias=bias, kernel_init=init, name=name
            )
            return layer(x)

        def leaky(x):
            return nn.leaky_relu(x, 0.2)

        x = leaky(conv(x, self.channels, 2, True, "conv_0"))
        for n in range(1, self.layers + 1):
            stride = 2 if n < self.layers else 1
            x = conv(x, self.channels * min(2**n, 8), stride, False, f"conv_{n}")
            x = leaky(BatchNorm(self.average, name=f"norm_{n}")(x))
        return conv(x, 1, 1, True, "conv_out")


class Discriminator(NamedTuple):
    """init: key -> params;  logits: (params, images [B, H, W, 3]) -> [B, h, w, 1]."""

    init: Callable[[Array], Params]
    logits: Callable[[Params, Array], Array]


def patchgan(channels: int, layers: int, average: Callable = alone) -> Discriminator:
    """The discriminator as functions.

    Args:
        average: mean over the devices, for the statistics of the batch.
    """
    network = PatchGAN(channels, layers, average)
    image = jnp.zeros((1, smallest(layers), smallest(layers), 3))
    return Discriminator(
        lambda key: network.init(key, image)["params"],
        lambda params, x: network.apply({"params": params}, x),
    )


def smallest(layers: int) -> int:
    """Side in pixels of the smallest image that leaves a logit."""
    side = 1
    for stride in (1, 1, *[2] * layers):  # from the logit back to the image
        side = (side - 1) * stride + 4 - 2
    return side


normal = nn.initializers.normal(1.0)
