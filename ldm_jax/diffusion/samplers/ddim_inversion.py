"""DDIM inversion: from data to the noise that DDIM turns into them (Song et al. 2021, sec. 4.3)."""

import jax.numpy as jnp

from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.diffusion.process import rates_like
from ldm_jax.diffusion.samplers.transfer import has_data
from ldm_jax.types import Sampler


def ddim_inversion() -> Sampler:
    """DDIM's step backwards; walks a grid from data to noise, such as `times.grid(...)[::-1]`.

    DDIM goes from s down to t with the noise that the network sees at s. That z_s is not known
    yet, so the network is told the time s and shown z_t: exact up to O(step), and defined at
    t = 0, where nothing is noise. Only where s is pure noise it is asked at t instead.
    """

    def step(denoise, process, keys, z, t, s, state):
        at_t, at_s = rates_like(process, t, z), rates_like(process, s, z)
        pure = ~has_data(at_s) & (at_t[1] > 0)
        asked = jnp.where(pure.reshape(t.shape), t, s)
        eps = noise_of(denoise(z, asked).x0, z, *rates_like(process, asked, z))
        x0 = (z - at_t[1] * eps) / at_t[0]
        return at_s[0] * x0 + at_s[1] * eps, state

    return Sampler(init=lambda z: (), step=step)
