"""Pixel space: the first stage that leaves images as they are."""

from dataclasses import dataclass

import jax.numpy as jnp

from ldm_jax.autoencoders.autoencoder import Autoencoder, first_stage
from ldm_jax.types import FirstStage, Gaussian, Reconstruction
from ldm_jax.weights.table import Table


@dataclass(frozen=True)
class Pixels(Autoencoder):
    """No first stage: the diffusion model's latents are the pixels, from -1 to 1."""

    @property
    def z_channels(self) -> int:
        return 3

    @property
    def factor(self) -> int:
        return 1

    def build(self) -> FirstStage:
        """Nothing of it can be trained; its params are the scale alone, which is 1 unless the
        config names a factor."""
        return first_stage(
            self,
            lambda key: {},
            lambda params, images: Gaussian(images, jnp.full_like(images, -jnp.inf)),
            lambda params, latents: latents,
            lambda params, images, keys: Reconstruction(images, {}, images),
            parts=(),
            last_layer=(),
            limit=1.0,
        )

    def original_names(self) -> Table:
        return []  # there are no weights
