"""RePaint: going back to noise on the way, so that what is made fits what is known (Lugmayr et al.
2022)."""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.process import rates_like
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.types import Sampler


def repaint(sampler: Sampler) -> Sampler:
    """The same sampler on a grid that also goes up: there, z is noised (their eq. 1, algorithm 1).

    With a denoiser that `blend` has told what is known, the places that are made are drawn again
    beside the known ones.
    """

    def step(denoise, process, keys, z, t, s, state):
        def noised():
            alpha_t, sigma_t = rates_like(process, t, z)
            alpha_s, sigma_s = rates_like(process, s, z)
            variance = jnp.square(sigma_s) - jnp.square(alpha_s / alpha_t * sigma_t)
            spread = jnp.sqrt(jnp.maximum(variance, 0.0))
            up = alpha_s / alpha_t * z + spread * normal_like(keys, z)
            return up, sampler.init(up)

        def denoised():
            return sampler.step(denoise, process, keys, z, t, s, state)

        return jax.lax.cond(s[0] > t[0], noised, denoised)

    return Sampler(init=sampler.init, step=step)


def resampled(times: np.ndarray, jump: int, resamples: int) -> np.ndarray:
    """A grid that takes every `jump` steps of `times` so often, going back up in between.

    Args:
        times: [K + 1] decreasing.
        jump: steps to go back; their best was 10 of 250.
        resamples: how often each is taken; 1 leaves the grid as it is.
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
