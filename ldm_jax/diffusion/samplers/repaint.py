"""RePaint: sampling goes back to noise in between, so that the inpainted region fits the known one
(Lugmayr et al. 2022)."""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.types import Sampler


def repaint(sampler: Sampler) -> Sampler:
    """The same sampler over times that also increase: there, z is noised (eq. 1, algorithm 1).

    With the denoiser of `blend`, the inpainted region is then drawn again, given the known one.
    """

    def step(denoise, process, keys, z, t, s, state):
        def noised():
            alpha_t, sigma_t = alpha_sigma_like(process, t, z)
            alpha_s, sigma_s = alpha_sigma_like(process, s, z)
            variance = jnp.square(sigma_s) - jnp.square(alpha_s / alpha_t * sigma_t)
            std = jnp.sqrt(jnp.maximum(variance, 0.0))
            up = alpha_s / alpha_t * z + std * normal_like(keys, z)
            return up, sampler.init(up)

        def denoised():
            return sampler.step(denoise, process, keys, z, t, s, state)

        return jax.lax.cond(s[0] > t[0], noised, denoised)

    return Sampler(step, sampler.init)


def resampled(times: np.ndarray, jump: int, resamples: int) -> np.ndarray:
    """Times that take every `jump` steps of `times` `resamples` times, noising z in between.

    Args:
        times: [K + 1] decreasing.
        jump: steps to go back; best in the paper: 10 of 250.
        resamples: how often each is taken; 1 returns `times`.
    """
    K = len(times) - 1
    back = dict.fromkeys(range(0, K - jump, jump), resamples - 1)
    n, path = K, [K]  # steps still to go
    while n > 0:
        n -= 1
        path.append(n)
        if back.get(n, 0):
            back[n] -= 1
            n += jump
            path.append(n)
    return times[K - np.asarray(path)]
