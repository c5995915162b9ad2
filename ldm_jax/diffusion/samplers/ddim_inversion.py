"""DDIM inversion: from data to the noise that DDIM turns into them (Song et al. 2021, sec. 4.3)."""

import jax.numpy as jnp

from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.transfer import has_data
from ldm_jax.types import Sampler


def ddim_inversion() -> Sampler:
    """DDIM's step backwards, over times from data to noise, such as `spacing.times(...)[::-1]`.

    DDIM goes from s down to t with the noise predicted at z_s, which is not known yet. The network
    is given the time s and z_t instead: exact up to O(step), and defined at t = 0, where there is
    no noise. Where s is pure noise it is given t.
    """

    def step(denoise, process, keys, z, t, s, state):
        at_t, at_s = alpha_sigma_like(process, t, z), alpha_sigma_like(process, s, z)
        pure = ~has_data(at_s) & (at_t[1] > 0)
        timestep = jnp.where(pure.reshape(t.shape), t, s)
        eps = noise_of(denoise(z, timestep).x0, z, *alpha_sigma_like(process, timestep, z))
        x0 = (z - at_t[1] * eps) / at_t[0]
        return at_s[0] * x0 + at_s[1] * eps, state

    return Sampler(step)
