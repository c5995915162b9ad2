"""Heun's method of order 2, with churn (Karras et al. 2022, algorithm 2)."""

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.churn import NO_CHURN, Churn, add_churn
from ldm_jax.diffusion.samplers.transfer import has_data, relative_noise, transfer
from ldm_jax.types import Sampler


def heun(churn: Churn = NO_CHURN) -> Sampler:
    """An Euler step in rho = sigma / alpha, corrected by the slope where it ends.

    Two network calls a step; one for the step to the data, where there is no slope, and no
    correction from pure noise, where rho is infinite.
    """

    def step(denoise, process, keys, z, t, s, state):
        z, t = add_churn(churn, process, keys, z, t)
        at_t, at_s = alpha_sigma_like(process, t, z), alpha_sigma_like(process, s, z)
        x0 = denoise(z, t).x0
        ahead = transfer(x0, z, at_t, at_s)
        corrected = has_data(at_t) & (at_s[1] > 0)

        def correct():
            # d(z / alpha) / d rho = eps: the mean of both slopes in place of the first
            slope = noise_of(x0, z, *at_t)
            there = noise_of(denoise(ahead, s).x0, ahead, *at_s)
            width = at_s[1] - at_s[0] * relative_noise(at_t)  # alpha_s (rho_s - rho_t)
            return ahead + jnp.where(corrected, width, 0.0) * (there - slope) / 2

        return jax.lax.cond(jnp.any(corrected), correct, lambda: ahead), state

    return Sampler(step)
