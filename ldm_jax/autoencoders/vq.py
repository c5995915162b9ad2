"""The VQ autoencoder: latents rounded to a codebook (van den Oord et al. 2017; Esser et al. 2021).

The second stage sees latents before they are rounded; rounding is a part of decoding (Rombach et
al. 2022, section 3.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ldm_jax.autoencoders import convolutional
from ldm_jax.autoencoders.convolutional import ConvolutionalAutoencoder, Decoder, Encoder
from ldm_jax.autoencoders.latents import draw, scaled, unit, unscaled
from ldm_jax.autoencoders.quantizer import codes_of, init_codebook, straight_through
from ldm_jax.settings import AtLeast1, Levels
from ldm_jax.types import Array, FirstStage, Gaussian, Reconstruction
from ldm_jax.weights.names import autoencoder, diffusers
from ldm_jax.weights.table import Table


@dataclass(frozen=True)
class VQAutoencoder(ConvolutionalAutoencoder):
    """Latents are rounded to a codebook; defaults are the original's vq-f4."""

    channel_mults: Levels = (1, 2, 4)  # channels of each level, in those of the first
    z_channels: AtLeast1 = 3  # of a code
    codebook_size: AtLeast1 = 8192  # codes

    has_codebook: ClassVar[bool] = True
    diffusers_class: ClassVar[str] = "VQModel"

    def build(self) -> FirstStage:
        return vq_autoencoder(self)

    def describe(self) -> str:
        return f"VQ autoencoder with {self.codebook_size} codes, {super().describe()}"

    def original_names(self) -> Table:
        return autoencoder.vq_autoencoder(self)

    @classmethod
    def read_diffusers(cls, settings: Mapping[str, Any]) -> autoencoder.Description:
        return diffusers.read_config(settings, cls)

    def diffusers_config(self, description: autoencoder.Description) -> dict[str, Any]:
        return diffusers.vq_config(description)


def vq_autoencoder(config: VQAutoencoder) -> FirstStage:
    """The first stage that `config` describes.

    Its params are {"encoder", "decoder", "quantizer": {"embedding" [n, z]}} and those of
    latents.py, measured before the second stage.
    """
    encoder, decoder = Encoder(config, config.z_channels), Decoder(config)

    def init(key: Array):
        network_key, code_key = jax.random.split(key)
        return {
            **convolutional.init(config, config.z_channels, network_key),
            "quantizer": {
                "embedding": init_codebook(code_key, config.codebook_size, config.z_channels)
            },
            **unit(config.z_channels),
        }

    def posterior(params, images: Array) -> Gaussian:
        h = encoder.apply({"params": params["encoder"]}, images)
        return Gaussian(h, jnp.full_like(h, -jnp.inf))

    def encode(params, images: Array, keys: Array) -> Array:
        return scaled(params, draw(posterior(params, images), keys))

    def decode(params, latents: Array) -> Array:
        codebook = params["quantizer"]["embedding"]
        rounded = codebook[codes_of(unscaled(params, latents), codebook)]
        return decoder.apply({"params": params["decoder"]}, rounded)

    def reconstruct(params, images: Array, keys: Array) -> Reconstruction:
        h = encoder.apply({"params": params["encoder"]}, images)
        rounded, codes, terms = straight_through(h, params["quantizer"]["embedding"])
        return Reconstruction(
            decoder.apply({"params": params["decoder"]}, rounded), terms, h, codes
        )

    return FirstStage(
        init,
        posterior,
        encode,
        decode,
        reconstruct,
        config.factor,
        config.z_channels,
        parts=("encoder", "decoder", "quantizer"),
        last_layer=convolutional.LAST_LAYER,
    )
