"""DDPM ancestral sampling (Ho, Jain and Abbeel 2020), over any grid of times."""

import jax.numpy as jnp

from ldm_jax.diffusion.process import rates_like
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.types import Sampler


def ddpm() -> Sampler:
    """Draws from the posterior q(z_s | z_t, x_0) with x_0 as the denoiser expects it (eq. 6, 7)."""

    def step(denoise, process, keys, z, t, s, state):
        alpha_t, sigma_t = rates_like(process, t, z)
        alpha_s, sigma_s = rates_like(process, s, z)
        x0 = denoise(z, t).x0
        alpha_ts = alpha_t / alpha_s  # z_t = alpha_ts z_s + sqrt(beta) eps
        # beta_t of the paper, from s to t: 1 - alpha_ts^2, without its cancellation at small beta
        beta = jnp.square(sigma_t) - jnp.square(alpha_ts * sigma_s)
        # eq. 7, with sqrt(alpha_bar) = alpha and 1 - alpha_bar = sigma^2
        mean = (alpha_ts * jnp.square(sigma_s) * z + alpha_s * beta * x0) / jnp.square(sigma_t)
        spread = jnp.sqrt(jnp.maximum(beta, 0.0)) * sigma_s / sigma_t
        return mean + spread * normal_like(keys, z), state

    return Sampler(init=lambda z: (), step=step)
