"""The KL autoencoder: latents near a standard normal (Rombach et al. 2022, section 3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp

from ldm_jax.autoencoders import convolutional
from ldm_jax.autoencoders.convolutional import ConvolutionalAutoencoder, Decoder, Encoder
from ldm_jax.autoencoders.latents import draw, scaled, unit, unscaled
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
        return kl_autoencoder(self)

    def describe(self) -> str:
        return f"KL autoencoder, {super().describe()}"

    def original_names(self) -> Table:
        return autoencoder.kl_autoencoder(self)

    @classmethod
    def read_diffusers(cls, settings: Mapping[str, Any]) -> autoencoder.Description:
        return diffusers.read_config(settings, cls)

    def diffusers_config(self, description: autoencoder.Description) -> dict[str, Any]:
        return diffusers.kl_config(description)


def kl_autoencoder(config: KLAutoencoder) -> FirstStage:
    """The first stage that `config` describes.

    Its params are {"encoder", "decoder"} and those of latents.py, measured before the second stage.
    """
    encoder, decoder = Encoder(config, 2 * config.z_channels), Decoder(config)

    def init(key: Array):
        networks = convolutional.init(config, 2 * config.z_channels, key)
        return networks | unit(config.z_channels)

    def posterior(params, images: Array) -> Gaussian:
        moments = encoder.apply({"params": params["encoder"]}, images)
        mean, log_variance = jnp.split(moments, 2, axis=-1)
        return Gaussian(mean, jnp.clip(log_variance, -30.0, 20.0))  # the original's range

    def encode(params, images: Array, keys: Array) -> Array:
        return scaled(params, draw(posterior(params, images), keys))

    def decode(params, latents: Array) -> Array:
        return decoder.apply({"params": params["decoder"]}, unscaled(params, latents))

    def reconstruct(params, images: Array, keys: Array) -> Reconstruction:
        q = posterior(params, images)
        z = draw(q, keys)
        image = decoder.apply({"params": params["decoder"]}, z)
        return Reconstruction(image, {"kl": kl_to_standard_normal(q)}, z)

    return FirstStage(
        init,
        posterior,
        encode,
        decode,
        reconstruct,
        config.factor,
        config.z_channels,
        parts=("encoder", "decoder"),
        last_layer=convolutional.LAST_LAYER,
    )
