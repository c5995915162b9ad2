"""The VQ autoencoder: latents rounded to a codebook (van den Oord et al. 2017; Esser et al. 2021).

The second stage sees latents before they are rounded; rounding is a part of decoding (Rombach et
al. 2022, section 3.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ldm_jax.autoencoders.autoencoder import first_stage
from ldm_jax.autoencoders.convolutional import ConvolutionalAutoencoder, Decoder, Encoder, init
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
        encoder, decoder = Encoder(self, self.z_channels), Decoder(self)

        def networks(key: Array):
            network_key, code_key = jax.random.split(key)
            codebook = init_codebook(code_key, self.codebook_size, self.z_channels)
            return init(encoder, decoder)(network_key) | {"quantizer": {"embedding": codebook}}

        def posterior(params, images: Array) -> Gaussian:
            h = encoder.apply({"params": params["encoder"]}, images)
            return Gaussian(h, jnp.full_like(h, -jnp.inf))

        def decode(params, z: Array) -> Array:
            codebook = params["quantizer"]["embedding"]
            return decoder.apply({"params": params["decoder"]}, codebook[codes_of(z, codebook)])

        def reconstruct(params, images: Array, keys: Array) -> Reconstruction:
            h = encoder.apply({"params": params["encoder"]}, images)
            rounded, codes, terms = straight_through(h, params["quantizer"]["embedding"])
            image = decoder.apply({"params": params["decoder"]}, rounded)
            return Reconstruction(image, terms, h, codes)

        parts = ("encoder", "decoder", "quantizer")
        return first_stage(self, networks, posterior, decode, reconstruct, parts)

    def describe(self) -> str:
        return f"VQ autoencoder with {self.codebook_size} codes, {super().describe()}"

    def original_names(self) -> Table:
        return autoencoder.vq_autoencoder(self)

    @classmethod
    def read_diffusers(cls, settings: Mapping[str, Any]) -> autoencoder.Description:
        return diffusers.read_config(settings, cls)

    def diffusers_config(self, description: autoencoder.Description) -> dict[str, Any]:
        return diffusers.vq_config(description)
