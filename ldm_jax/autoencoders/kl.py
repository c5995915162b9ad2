"""The KL autoencoder: latents near a standard normal (Rombach et al. 2022, section 3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp

from ldm_jax.autoencoders.autoencoder import first_stage
from ldm_jax.autoencoders.convolutional import ConvolutionalAutoencoder, Decoder, Encoder, init
from ldm_jax.autoencoders.latents import draw
from ldm_jax.losses.kl import kl_to_standard_normal
from ldm_jax.types import Array, FirstStage, Gaussian, Reconstruction
from ldm_jax.weights.names import autoencoder, diffusers
from ldm_jax.weights.table import Table


@dataclass(frozen=True)
class KLAutoencoder(ConvolutionalAutoencoder):
    """Latents drawn from a Gaussian near the standard one; defaults are the original's kl-f8."""

    has_posterior: ClassVar[bool] = True
    diffusers_class: ClassVar[str] = "AutoencoderKL"

    def build(self) -> FirstStage:
        encoder, decoder = Encoder(self, 2 * self.z_channels), Decoder(self)

        def posterior(params, images: Array) -> Gaussian:
            moments = encoder.apply({"params": params["encoder"]}, images)
            mean, log_variance = jnp.split(moments, 2, axis=-1)
            return Gaussian(mean, jnp.clip(log_variance, -30.0, 20.0))  # the original's range

        def decode(params, z: Array) -> Array:
            return decoder.apply({"params": params["decoder"]}, z)

        def reconstruct(params, images: Array, keys: Array) -> Reconstruction:
            q = posterior(params, images)
            z = draw(q, keys)
            return Reconstruction(decode(params, z), {"kl": kl_to_standard_normal(q)}, z)

        return first_stage(self, init(encoder, decoder), posterior, decode, reconstruct)

    def describe(self) -> str:
        return f"KL autoencoder, {super().describe()}"

    def original_names(self) -> Table:
        return autoencoder.kl_autoencoder(self)

    @classmethod
    def read_diffusers(cls, settings: Mapping[str, Any]) -> autoencoder.Description:
        return diffusers.read_config(settings, cls)

    def diffusers_config(self, description: autoencoder.Description) -> dict[str, Any]:
        return diffusers.kl_config(description)
