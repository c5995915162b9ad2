"""Reconstructions by a first stage, and what is measured of them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ldm_jax.autoencoders.latents import draw, scaled
from ldm_jax.autoencoders.quantizer import codes_of
from ldm_jax.losses.kl import kl_to_standard_normal
from ldm_jax.metrics.reconstruction import SMALLEST, psnr, ssim
from ldm_jax.sampling.tiled import crop
from ldm_jax.types import Array, FirstStage, Gaussian, Params


class Measured(NamedTuple):
    """Results of a batch."""

    rows: dict[str, Array]  # metrics per image, each [B, ...]
    image: Array  # reconstructions [B, H, W, 3]
    latents: Array  # [B, h, w, c], scaled
    codes: Array | None  # [B, h, w], where there is a codebook


def measurement(
    stage: FirstStage,
    distance: Callable[[Params, Array, Array], Array] | None = None,
    plain: FirstStage | None = None,
) -> Callable[[Params, Array, Array], Measured]:
    """A pure function (params, images [B, H, W, 3], seeds [B]) -> Measured.

    Its params are {"first_stage"}, and {"perceptual"} where `distance` is given.

    Args:
        plain: the same first stage in another form, for rows "plain_...", differences from it. Of
            reconstructions and of decoding the same latents: PSNR in dB, and the largest difference
            of pixels, whose range is 2. Of latents: the mean square of their difference.
    """

    def measure(params, images: Array, seeds: Array) -> Measured:
        keys = jax.vmap(jax.random.key)(seeds)
        q, z, latents = _encoded(stage, params["first_stage"], images, keys)
        image = _decoded(stage, params["first_stage"], latents, images)
        rows = {"psnr": psnr(images, image), "kl": kl_to_standard_normal(q)}
        if min(images.shape[1:3]) >= SMALLEST:
            rows["ssim"] = ssim(images, image)
        if distance:
            rows["lpips"] = distance(params["perceptual"], images, image)
        if plain:
            expected = _encoded(plain, params["first_stage"], images, keys)[2]
            whole = _decoded(plain, params["first_stage"], expected, images)
            decoded = _decoded(stage, params["first_stage"], expected, images)
            rows |= {
                "plain_psnr": psnr(whole, image),
                "plain_max": jnp.max(jnp.abs(whole - image), axis=(1, 2, 3)),
                "plain_decoder_psnr": psnr(whole, decoded),
                "plain_decoder_max": jnp.max(jnp.abs(whole - decoded), axis=(1, 2, 3)),
                "plain_latent_square": jnp.mean(jnp.square(latents - expected), axis=(1, 2, 3)),
            }
        codebook = params["first_stage"].get("quantizer")
        codes = codes_of(z, codebook["embedding"]) if codebook else None
        return Measured(rows, image, latents, codes)

    return measure


def _encoded(
    stage: FirstStage, params: Params, images: Array, keys: Array
) -> tuple[Gaussian, Array, Array]:
    """The posterior, a sample of it, and the scaled sample."""
    q = stage.posterior(params, images)
    z = draw(q, keys)
    return q, z, scaled(params, z)


def _decoded(stage: FirstStage, params: Params, latents: Array, images: Array) -> Array:
    """Images of the size of `images`, in [-1, 1]."""
    return jnp.clip(crop(stage.decode(params, latents), *images.shape[1:3]), -1.0, 1.0)
