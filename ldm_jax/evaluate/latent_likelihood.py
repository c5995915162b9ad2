"""The likelihood of latents of images under a diffusion model."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ldm_jax.diffusion import probability_flow as flow
from ldm_jax.diffusion.denoiser import denoiser
from ldm_jax.diffusion.losses.vlb import variational_bound
from ldm_jax.types import Array, Batch, DiffusionModel, Params


def make_likelihood(model: DiffusionModel, flow_steps: int, probes: int = 1) -> Callable:
    """A compiled function (params, images [B, H, W, 3], inputs, seeds [B]) -> arrays by name.

    Of scaled latents drawn from each image's posterior, in bits per dimension: "bound"
    [B], the variational bound, with its "prior" [B] and its terms "bits" [B, T], and the mean
    squared errors "x0_error" and "eps_error" [B, T] at t = 1 ... T; "flow" [B], by the
    probability flow.

    Args:
        flow_steps: of the probability flow from time 1 to T, at two passes each (and as many
            derivatives for each of the probes).

    Args of the function:
        inputs: of the conditioner, each [B, ...]; empty: unconditional.
    """
    process = model.process

    def likelihood(params: Params, images: Array, inputs: Batch, seeds: Array) -> dict[str, Array]:
        keys = jax.vmap(jax.random.key)(seeds)
        latent_keys, noise_keys, probe_keys = jnp.moveaxis(
            jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0
        )
        x0 = model.first_stage.encode(params["first_stage"], images, latent_keys)
        cond = model.condition(params, inputs or model.conditioner.null(*x0.shape[:3]))
        cond = model.precompute(params, cond)

        def network(z, timestep):
            return model.denoise(params, z, timestep, cond)

        denoise = denoiser(network, process, model.prediction)
        bound = variational_bound(denoise, process, x0, noise_keys)
        times = flow.flow_times(process, flow_steps, first=1.0)
        log_p = flow.log_likelihood(denoise, process, times, x0, probe_keys, probes)
        return {
            "bound": bound.total,
            "prior": bound.prior,
            "bits": bound.terms,
            "x0_error": bound.x0_error,
            "eps_error": bound.eps_error,
            "flow": flow.bits_per_dim(log_p, x0),
        }

    return jax.jit(likelihood)
