"""Pixel space: the first stage that leaves images as they are."""

from dataclasses import dataclass

import jax.numpy as jnp

from ldm_jax.autoencoders.autoencoder import Autoencoder
from ldm_jax.autoencoders.latents import scaled, unit, unscaled
from ldm_jax.types import Array, FirstStage, Gaussian, Reconstruction
from ldm_jax.weights.table import Table

CHANNELS = 3


@dataclass(frozen=True)
class Pixels(Autoencoder):
    """No first stage: the diffusion model's latents are the pixels, from -1 to 1."""

    @property
    def z_channels(self) -> int:
        return CHANNELS

    @property
    def factor(self) -> int:
        return 1

    def build(self) -> FirstStage:
        return pixels()

    def original_names(self) -> Table:
        return []  # there are no weights


def pixels() -> FirstStage:
    """Images [B, H, W, 3] are their own latents. Nothing of it can be trained.

    Its params are the scale alone, which is 1 unless the config names a factor.
    """

    def posterior(params, images: Array) -> Gaussian:
        del params
        return Gaussian(images, jnp.full_like(images, -jnp.inf))

    def encode(params, images: Array, keys: Array) -> Array:
        del keys
        return scaled(params, images)

    def reconstruct(params, images: Array, keys: Array) -> Reconstruction:
        del params, keys
        return Reconstruction(images, {}, images)

    return FirstStage(
        lambda key: unit(CHANNELS),
        posterior,
        encode,
        unscaled,
        reconstruct,
        factor=1,
        channels=CHANNELS,
        parts=(),
        last_layer=(),
    )
