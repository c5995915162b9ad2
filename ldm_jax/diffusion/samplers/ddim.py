"""DDIM (Song, Meng and Ermon 2021)."""

import jax.numpy as jnp

from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.diffusion.process import rates_like
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.types import Array, Sampler


def ddim(eta: Array | float = 0.0) -> Sampler:
    """The DDIM sampler; eta = 0 is deterministic, eta = 1 has the DDPM posterior's variance.

    Args:
        eta: scalar, scales the noise of eq. 16.
    """

    def step(denoise, process, keys, z, t, s, state):
        alpha_t, sigma_t = rates_like(process, t, z)
        alpha_s, sigma_s = rates_like(process, s, z)
        x0 = denoise(z, t).x0
        eps = noise_of(x0, z, alpha_t, sigma_t)
        # eq. 16 in alpha and sigma: the posterior's standard deviation times eta
        beta = jnp.square(sigma_t) - jnp.square(alpha_t / alpha_s * sigma_s)
        spread = eta * sigma_s / sigma_t * jnp.sqrt(jnp.maximum(beta, 0.0))
        direction = jnp.sqrt(jnp.maximum(jnp.square(sigma_s) - jnp.square(spread), 0.0))
        # eq. 12
        return alpha_s * x0 + direction * eps + spread * normal_like(keys, z), state

    return Sampler(init=lambda z: (), step=step)
