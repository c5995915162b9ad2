"""SDE-DPM-Solver++(2M), stochastic multistep of order 2 (Lu et al. 2022b)."""

import jax.numpy as jnp

from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers import dpmpp_2m
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.diffusion.samplers.transfer import half_log_snr
from ldm_jax.types import Array, Sampler


def dpmpp_2m_sde(eta: Array | float = 1.0) -> Sampler:
    """Solves the diffusion SDE as 2M solves the flow; one network call a step.

    Args:
        eta: scalar: 1 is the reverse SDE of the paper, 0 the flow, and so 2M. In between,
            noise is added at a rate of eta, and removed at a rate of 1 + eta.
    """

    def step(denoise, process, keys, z, t, s, past):
        at_t, at_s = alpha_sigma_like(process, t, z), alpha_sigma_like(process, s, z)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = at_t, at_s
        x0 = denoise(z, t).x0
        predicted = dpmpp_2m.extrapolated(x0, past, at_t, at_s)
        decay = alpha_t * sigma_s / (alpha_s * sigma_t)  # exp(-h)
        kept = decay**eta
        mean = sigma_s / sigma_t * kept * z + alpha_s * (1 - decay * kept) * predicted
        std = sigma_s * jnp.sqrt(jnp.maximum(1 - jnp.square(kept), 0.0))
        ahead = mean + std * normal_like(keys, z)
        return ahead, dpmpp_2m.Past(x0, half_log_snr(at_t))

    return Sampler(step, dpmpp_2m.nothing)
