"""The tiny autoencoder: residual blocks of convolutions and ReLUs, and hardly more.

Boer Bohan's TAESD (2023), `AutoencoderTiny` in diffusers.

The published weights were distilled from the first stages of Stable Diffusion and its successors,
whose scaled latents they read and write: their scale is 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from ldm_jax.autoencoders.autoencoder import Autoencoder, first_stage, init_both
from ldm_jax.nn.conv import Conv3x3
from ldm_jax.nn.norm import group_norm
from ldm_jax.nn.upsample import DoubledConv
from ldm_jax.settings import AtLeast1, Levels
from ldm_jax.types import Array, FirstStage, Gaussian, Reconstruction
from ldm_jax.weights.names import tiny
from ldm_jax.weights.names.autoencoder import Description
from ldm_jax.weights.table import Table


@dataclass(frozen=True)
class TinyAutoencoder(Autoencoder):
    """The tiny autoencoder (TAESD); defaults are those of the published taesd and taesdxl.

    taesd3 and taef1 have 16 z_channels, taef2 has 32 and mid_norm. The downsampling factor is
    2^(len(blocks) - 1).
    """

    channels: AtLeast1 = 64  # of all layers
    blocks: Levels = (1, 3, 3, 3)  # a level, from the images down, each way
    z_channels: AtLeast1 = 4  # channels of the latents
    mid_norm: bool = False  # blocks of the last level begin with a normalised branch

    diffusers_class: ClassVar[str] = "AutoencoderTiny"
    scaled_latents: ClassVar[bool] = True

    @property
    def factor(self) -> int:
        return 2 ** (len(self.blocks) - 1)

    def build(self) -> FirstStage:
        encoder, decoder, factor = Encoder(self), Decoder(self), self.factor
        shapes = (1, factor, factor, 3), (1, 1, 1, self.z_channels)

        def posterior(params, images: Array) -> Gaussian:
            z = encoder.apply({"params": params["encoder"]}, images)
            return Gaussian(z, jnp.full_like(z, -jnp.inf))

        def decode(params, z: Array) -> Array:
            return decoder.apply({"params": params["decoder"]}, z)

        def reconstruct(params, images: Array, keys: Array) -> Reconstruction:
            z = posterior(params, images).mean
            return Reconstruction(decode(params, z), {}, z)

        networks = init_both(encoder, decoder, *shapes)
        return first_stage(self, networks, posterior, decode, reconstruct)

    def describe(self) -> str:
        return ", ".join(
            [
                f"tiny autoencoder, downsampling factor {self.factor}",
                f"{self.channels} channels",
                f"{' '.join(map(str, self.blocks))} residual blocks by level",
                *["norms in the last level"] * self.mid_norm,
                f"{self.z_channels} latent channels",
            ]
        )

    def original_names(self) -> Table:
        return tiny.tiny_autoencoder(self)

    def diffusers_names(self) -> Table:
        return tiny.tiny_autoencoder(self, "diffusers")

    @classmethod
    def read_diffusers(cls, settings: Mapping[str, Any]) -> Description:
        return tiny.read_config(settings, cls)

    def diffusers_config(self, description: Description) -> dict[str, Any]:
        return tiny.diffusers_config(description)


MAGNITUDE = 3.0  # latents beyond this are bent back by the decoder


class _Block(nn.Module):
    """Three convolutions with a skip connection, and a ReLU after their sum."""

    norm: bool  # a branch before them, the only layers that see the whole image

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> the same shape, none negative."""
        if self.norm:
            y = nn.Dense(4 * x.shape[-1], use_bias=False, name="norm_in")(x)
            y = nn.relu(group_norm(y, 4, 1e-5, "norm"))
            x = x + nn.Dense(x.shape[-1], use_bias=False, name="norm_out")(y)
        y = nn.relu(Conv3x3(x.shape[-1], name="conv1")(x))
        y = nn.relu(Conv3x3(x.shape[-1], name="conv2")(y))
        return nn.relu(x + Conv3x3(x.shape[-1], name="conv3")(y))


def _block(config: TinyAutoencoder, level: int, name: str) -> _Block:
    return _Block(config.mid_norm and level == len(config.blocks) - 1, name=name)


class Encoder(nn.Module):
    """Images to latents."""

    config: TinyAutoencoder

    @nn.compact
    def __call__(self, x):
        """x [B, H, W, 3] in [-1, 1] -> [B, H / f, W / f, z_channels]."""
        c = self.config
        h = Conv3x3(c.channels, name="conv_in")((x + 1.0) / 2.0)  # padding with zeros is black
        for level, count in enumerate(c.blocks):
            if level > 0:
                name = f"down_{level}_downsample"
                h = Conv3x3(c.channels, use_bias=False, stride=2, name=name)(h)
            for i in range(count):
                h = _block(c, level, f"down_{level}_res_{i}")(h)
        return Conv3x3(c.z_channels, name="conv_out")(h)


class Decoder(nn.Module):
    """Latents to images."""

    config: TinyAutoencoder

    @nn.compact
    def __call__(self, z):
        """z [B, h, w, z_channels], unscaled -> [B, f h, f w, 3]."""
        c = self.config
        h = jnp.tanh(z / MAGNITUDE) * MAGNITUDE
        h = nn.relu(Conv3x3(c.channels, name="conv_in")(h))
        for level, count in reversed(list(enumerate(c.blocks))):
            for i in range(count):
                h = _block(c, level, f"up_{level}_res_{i}")(h)
            if level > 0:
                h = DoubledConv(c.channels, use_bias=False, name=f"up_{level}_upsample")(h)
        return 2.0 * Conv3x3(3, name="conv_out")(h) - 1.0
