"""The objective of the first stage (Rombach et al. 2022, eq. 25, without its adversary)."""

import jax.numpy as jnp

from ldm_jax.autoencoders.kl import draw
from ldm_jax.autoencoders.latents import scaled
from ldm_jax.config import AutoencoderLoss
from ldm_jax.losses.kl import kl_to_standard_normal
from ldm_jax.losses.reconstruction import l1, l2
from ldm_jax.train.state import Loss
from ldm_jax.types import FirstStage

TRAINED = ("encoder", "decoder")


def autoencoder_loss(first_stage: FirstStage, config: AutoencoderLoss) -> Loss:
    """Sum of weighted terms, each a number an image: a further term is a further entry."""
    distance = {"l1": l1, "l2": l2}[config.reconstruction]

    def loss(params, batch, keys):
        image = batch["image"]
        q = first_stage.posterior(params, image)
        reconstruction = first_stage.decode(params, scaled(params, draw(q, keys)))
        terms = {  # name: (weight, [B])
            "reconstruction": (1.0, distance(image, reconstruction)),
            "kl": (config.kl_weight, kl_to_standard_normal(q)),
        }
        total = jnp.mean(sum(weight * term for weight, term in terms.values()))
        metrics = {name: jnp.mean(term) for name, (_, term) in terms.items()}
        error = jnp.mean(jnp.square((image - reconstruction) / 2.0))
        return total, {"loss": total, **metrics, "psnr": -10.0 * jnp.log10(error)}

    return loss
