"""Latent consistency models (Luo et al. 2023): clean data at each step, and noise again."""

import jax.numpy as jnp

from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.types import Sampler


def lcm(data_std: float = 0.5, scale: float = 10.0) -> Sampler:
    """Multistep consistency sampling (Song et al. 2023, algorithm 1), for models distilled to it.

    The denoiser's x0 is bent to the boundary condition f(z, smallest time) = z by
    f = c_skip z + c_out x0 (Luo et al. 2023, section 4), in which time 1 is the smallest; from
    time 2 on c_skip is less than 1/400.

    Args:
        data_std: sigma_data.
        scale: of the time, before it is compared with sigma_data.
    """

    def step(denoise, process, keys, z, t, s, state):
        alpha_s, sigma_s = alpha_sigma_like(process, s, z)
        time = scale * (t - 1.0).reshape(alpha_s.shape)
        c_skip = data_std**2 / (jnp.square(time) + data_std**2)
        c_out = time / jnp.sqrt(jnp.square(time) + data_std**2)
        f = c_skip * z + c_out * denoise(z, t).x0
        return alpha_s * f + sigma_s * normal_like(keys, z), state

    return Sampler(step)
