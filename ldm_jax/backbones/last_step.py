"""A UNet whose step to the data is another network's (Karlo's upsampler)."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from ldm_jax.backbones.unet import UNet, unet
from ldm_jax.types import Array, Backbone, Cond, Params


@dataclass(frozen=True)
class LastStepUNet(UNet):
    """Two UNets of one size: the first for all timesteps but the lowest, the last for that alone.

    In training, where a batch has several timesteps, the first learns all of them.
    """

    karlo: ClassVar = "upsampler"

    def build(self, in_channels: int, out_channels: int) -> Backbone:
        """Its params are {"first", "last"}."""
        inner = unet(self, in_channels, out_channels)

        def init(key: Array, cond: Cond) -> Params:
            keys = jax.random.split(key)
            return {"first": inner.init(keys[0], cond), "last": inner.init(keys[1], cond)}

        def apply(params: Params, z: Array, timestep: Array, cond: Cond) -> Array:
            return jax.lax.cond(
                jnp.all(timestep == 0),
                lambda: inner.apply(params["last"], z, timestep, cond),
                lambda: inner.apply(params["first"], z, timestep, cond),
            )

        return inner._replace(init=init, apply=apply, precompute=lambda params, cond: cond)
