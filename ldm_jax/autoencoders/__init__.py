"""First stages: images to latents and back."""

from ldm_jax.autoencoders.autoencoder import Autoencoder
from ldm_jax.autoencoders.kl import KLAutoencoder
from ldm_jax.autoencoders.mlp import MLPAutoencoder
from ldm_jax.autoencoders.pixels import Pixels
from ldm_jax.autoencoders.tiny import TinyAutoencoder
from ldm_jax.autoencoders.vq import VQAutoencoder

FirstStageModel = KLAutoencoder | VQAutoencoder | TinyAutoencoder | MLPAutoencoder | Pixels

__all__ = [
    "Autoencoder",
    "FirstStageModel",
    "KLAutoencoder",
    "MLPAutoencoder",
    "Pixels",
    "TinyAutoencoder",
    "VQAutoencoder",
]
