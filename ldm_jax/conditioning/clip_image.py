"""An image as CLIP embeds it: one token, or a noised vector beside captions (unCLIP).

Ramesh et al. 2022 for drawing from an embedding of CLIP; the first form is that of Stable Diffusion
image variations, the second that of Stable Diffusion 2.1 unCLIP.
"""

import jax.numpy as jnp
import numpy as np
from PIL import Image

from ldm_jax.diffusion.processes import betas
from ldm_jax.encoders.clip.vision import VisionTower, normalised
from ldm_jax.nn.embedding import step_embedding
from ldm_jax.types import Array, Cond, Conditioner, Params

LEVELS = 1000  # of noise on embeddings, 0 ... 999, by the cosine schedule


def noised(e: Array, noise: Array, level: Array, mean: Array, std: Array) -> Array:
    """Noise conditioning augmentation (Ho et al. 2022) of embeddings that are brought to mean 0 and
    standard deviation 1, and back: std (sqrt(bar) (e - mean) / std + sqrt(1 - bar) noise) + mean.

    Args:
        e: [B, d], as the noise.
        level: [B] int32; the least, 0, is a little noise.
        mean, std: [d], of the embeddings of many images.
    """
    bar = np.cumprod(1.0 - betas.cosine(LEVELS))
    bar = jnp.asarray(bar, jnp.float32)[level][:, None]
    return std * (jnp.sqrt(bar) * (e - mean) / std + jnp.sqrt(1.0 - bar) * noise) + mean


def clip_image(tower: VisionTower, with_noise: bool = False) -> Conditioner:
    """Reads `batch["image"]` [B, size, size, 3], see `prepared`.

    An image of nothing but 0, which no 8-bit image becomes, stands for no condition: the token,
    or the whole vector, is then 0.

    Args:
        with_noise: whether it is the vector, [e, sines and cosines of the level], for which
            `picture_noise` [B, d] standard normal and `noise_level` [B] int32 are read, see
            `noised`; else the token.
    """
    size, dim = tower.of.size, tower.of.dim

    def init(key):
        params: Params = {"tower": tower.init(key, jnp.zeros((1, size, size, 3)))["params"]}
        if with_noise:
            params |= {"mean": jnp.zeros(dim), "std": jnp.ones(dim)}
        return params

    def apply(params, inputs):
        picture = inputs["picture"]
        e = tower.apply({"params": params["tower"]}, picture)
        if with_noise:
            level = inputs["noise_level"]
            e = noised(e, inputs["picture_noise"], level, params["mean"], params["std"])
            e = jnp.concatenate([e, step_embedding(level, dim)], axis=-1)
        e = jnp.where(jnp.any(picture != 0.0, axis=(1, 2, 3))[:, None], e, 0.0)
        return Cond(vector=e) if with_noise else Cond(tokens=e[:, None])

    def null(n, h=1, w=1):
        picture = {"picture": jnp.zeros((n, size, size, 3))}
        if not with_noise:
            return picture
        noise = {"picture_noise": jnp.zeros((n, dim)), "noise_level": jnp.zeros(n, jnp.int32)}
        return picture | noise

    return Conditioner(
        init=init,
        apply=apply,
        null=null,
        keys=tuple(null(1)),
        dim=0 if with_noise else dim,
        trained=False,
        hidden=("picture",),
    )


def middle(image: Image.Image, size: int) -> np.ndarray:
    """The middle of an image, [size, size, 3] uint8, as CLIP's own preparation has it.

    The shorter side becomes `size` by Pillow's bicubic filter, the longer one is cut to whole
    pixels.
    """
    width, height = image.size
    short = min(width, height)
    scaled = (width * size // short, height * size // short)
    image = image.convert("RGB").resize(scaled, Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def prepared(image: Image.Image, size: int) -> np.ndarray:
    """What the tower sees of an image: its middle, [size, size, 3] float32, normalised."""
    return normalised(np.float32(middle(image, size)) / 255.0)
