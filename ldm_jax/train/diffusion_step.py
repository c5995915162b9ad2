"""The objective of the second stage (Rombach et al. 2022, eq. 3)."""

import jax
import jax.numpy as jnp

from ldm_jax.conditioning.dropout import drop
from ldm_jax.diffusion.loss import simple_loss
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.diffusion.times import random_times
from ldm_jax.train.state import Loss, Objective, minimise
from ldm_jax.types import LatentDiffusion

TRAINED = ("denoiser", "conditioner")


def diffusion_objective(model: LatentDiffusion, drop_rate: float) -> Objective:
    """The noise-matching loss as an objective of denoiser and conditioner."""
    return minimise(diffusion_loss(model, drop_rate), TRAINED)


def diffusion_loss(model: LatentDiffusion, drop_rate: float) -> Loss:
    """The noise-matching loss on latents, drawn anew from the first stage's posterior."""

    def loss(params, batch, keys):
        latent_keys, time_keys, noise_keys, drop_keys = jnp.moveaxis(
            jax.vmap(lambda key: jax.random.split(key, 4))(keys), 1, 0
        )
        z0 = model.first_stage.encode(params["first_stage"], batch["image"], latent_keys)
        z0 = jax.lax.stop_gradient(z0)
        t = random_times(jax.vmap(jax.random.uniform)(time_keys), model.process.T)
        inputs = {name: batch[name] for name in model.conditioner.keys}
        inputs = drop(model.conditioner, inputs, drop_keys, drop_rate)
        cond = model.conditioner.apply(params["conditioner"], inputs)

        def network(z, steps):
            return model.denoiser(params["denoiser"], z, steps, cond)

        noise = normal_like(noise_keys, z0)
        losses = simple_loss(network, model.process, model.prediction, z0, noise, t)
        total = jnp.mean(losses)
        return total, {"loss": total}

    return loss
