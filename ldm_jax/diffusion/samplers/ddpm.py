"""DDPM ancestral sampling (Ho, Jain and Abbeel 2020), with any timestep spacing."""

import jax.numpy as jnp

from ldm_jax.diffusion.posterior import reverse_step
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.types import Sampler


def ddpm() -> Sampler:
    """Draws from p(z_s | z_t), with the posterior's variance or the learned one."""

    def step(denoise, process, keys, z, t, s, state):
        p = reverse_step(process, denoise(z, t), z, t, s)
        _, sigma_s = alpha_sigma_like(process, s, z)
        std = jnp.where(sigma_s > 0.0, jnp.exp(0.5 * p.log_variance), 0.0)  # data have no noise
        return p.mean + std * normal_like(keys, z), state

    return Sampler(step, reads_score=True)
