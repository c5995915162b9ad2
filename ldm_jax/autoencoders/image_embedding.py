"""CLIP's embedding of an image, which unCLIP's prior draws (Ramesh et al. 2022, section 2.2)."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ldm_jax.autoencoders.autoencoder import Autoencoder, first_stage
from ldm_jax.encoders.clip.vision import VisionSettings, normalised
from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1, Positive
from ldm_jax.types import Array, FirstStage, Gaussian, Params, Reconstruction
from ldm_jax.weights.names import clip as names
from ldm_jax.weights.names.clip_file import read_encoder


@dataclass(frozen=True)
class ImageEmbedding(VisionSettings, Autoencoder):
    """CLIP's image encoder as a first stage without a decoder: latents [1, 1, dim]."""

    image_size: AtLeast1 = 64  # pixels a side, as data.image_size
    # CLIP's weights, as transformers, OpenCLIP or OpenAI name them: a file, or a folder with one,
    # as scripts/convert.py makes of a run of a CLIP
    file: str | None = None
    encodes: bool = True  # False: the image encoder is not there, embeddings are drawn alone
    limit: Positive = 5.0  # largest absolute value of predicted latents; Karlo's

    @property
    def z_channels(self) -> int:
        return self.dim

    @property
    def factor(self) -> int:
        return self.image_size

    def check_images(self, size: int, prefix: str) -> None:
        if size != self.image_size:
            raise InputError(
                f"{prefix}data.image_size is {size} and {prefix}model.image_size "
                f"{self.image_size}: expected the same, since an embedding is of a whole image"
            )

    def build(self) -> FirstStage:
        """Its params have the mean and deviation of embeddings as well, by which Karlo's are
        normalised; `decode` gives embeddings [B, 1, 1, dim]."""
        network, shape = self.network, (1, self.size, self.size, 3)

        def init(key: Array) -> Params:
            own = {"mean": jnp.zeros(self.dim), "std": jnp.ones(self.dim)}
            if self.encodes:
                own["encoder"] = network.init(key, jnp.zeros(shape))["params"]
            return own

        def posterior(params: Params, images: Array) -> Gaussian:
            if not self.encodes:
                raise InputError(
                    "first_stage.model.encodes is False: expected True and first_stage.model.file, "
                    "CLIP's weights, to train a prior"
                )
            e = network.apply({"params": params["encoder"]}, prepared(images, self.size))
            e = ((e - params["mean"]) / params["std"])[:, None, None]
            return Gaussian(e, jnp.full_like(e, -jnp.inf))

        def reconstruct(params: Params, images: Array, keys: Array) -> Reconstruction:
            raise InputError(
                "ImageEmbedding has no decoder: expected it as the prior's first stage"
            )

        return first_stage(
            self,
            init,
            posterior,
            lambda params, z: z * params["std"] + params["mean"],
            reconstruct,
            parts=(),
            last_layer=(),
            limit=self.limit,
        )._replace(images=False)

    def published(self) -> Params:
        rows = functools.partial(names.images, self.architecture)
        return {
            "encoder": read_encoder(self.file, rows, "an image encoder", "first_stage.model.file")
        }


def prepared(images: Array, size: int) -> Array:
    """Images [B, H, H, 3] in [-1, 1] -> the image encoder's input [B, size, size, 3]."""
    B, H, _, _ = images.shape
    if size != H:
        images = jax.image.resize(images, (B, size, size, 3), "cubic")
    return normalised((jnp.clip(images, -1.0, 1.0) + 1.0) / 2.0)
