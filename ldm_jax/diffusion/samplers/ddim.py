"""DDIM (Song, Meng and Ermon 2021)."""

import jax.numpy as jnp

from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.types import Array, Sampler


def ddim(eta: Array | float = 0.0) -> Sampler:
    """The DDIM sampler; eta = 0 is deterministic, eta = 1 has the DDPM posterior's variance.

    Args:
        eta: scalar, scales the noise of eq. 16.
    """

    def step(denoise, process, keys, z, t, s, state):
        alpha_t, sigma_t = alpha_sigma_like(process, t, z)
        alpha_s, sigma_s = alpha_sigma_like(process, s, z)
        x0 = denoise(z, t).x0
        eps = noise_of(x0, z, alpha_t, sigma_t)
        # eq. 16 in alpha and sigma: the posterior's standard deviation times eta
        decay = alpha_t * sigma_s / (alpha_s * sigma_t)
        noise = eta * sigma_s * jnp.sqrt(jnp.maximum(1.0 - jnp.square(decay), 0.0))
        # sqrt(sigma_s^2 - noise^2), which cancels where eta is 1 and alpha_t is small
        direction = sigma_s * jnp.sqrt(1.0 - eta**2 + jnp.square(eta * decay))
        # eq. 12
        return alpha_s * x0 + direction * eps + noise * normal_like(keys, z), state

    return Sampler(step)
