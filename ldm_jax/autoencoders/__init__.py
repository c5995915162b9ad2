"""First stages: images to latents and back."""

from ldm_jax.autoencoders.autoencoder import Autoencoder as Autoencoder
from ldm_jax.autoencoders.image_embedding import ImageEmbedding as ImageEmbedding
from ldm_jax.autoencoders.kl import KLAutoencoder as KLAutoencoder
from ldm_jax.autoencoders.mlp import MLPAutoencoder as MLPAutoencoder
from ldm_jax.autoencoders.pixels import Pixels as Pixels
from ldm_jax.autoencoders.tiny import TinyAutoencoder as TinyAutoencoder
from ldm_jax.autoencoders.vq import VQAutoencoder as VQAutoencoder

FirstStageModel = (
    KLAutoencoder | VQAutoencoder | TinyAutoencoder | MLPAutoencoder | Pixels | ImageEmbedding
)

__all__ = ["FirstStageModel", *(name for name, x in globals().items() if isinstance(x, type))]
