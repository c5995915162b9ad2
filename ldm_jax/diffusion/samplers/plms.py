"""PLMS: the pseudo linear multistep method (Liu et al. 2022), as the original code has it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.transfer import has_data, relative_noise, transfer
from ldm_jax.types import Array, Sampler

# Adams and Bashforth: weights of the newest noise, the one before it, ..., by how many there are
WEIGHTS = np.array(
    [
        [1.0, 0.0, 0.0, 0.0],
        [3 / 2, -1 / 2, 0.0, 0.0],
        [23 / 12, -16 / 12, 5 / 12, 0.0],
        [55 / 24, -59 / 24, 37 / 24, -9 / 24],
    ],
    np.float32,
)


class Past(NamedTuple):
    """The noises of the last steps."""

    eps: Array  # [3, B, h, w, c], newest first
    count: Array  # int32 scalar: steps made so far


def plms() -> Sampler:
    """DDIM steps along a noise extrapolated from up to four steps, with weights for even steps.

    The first step calls the network twice and uses the mean of both noises. It is DDIM's from pure
    noise (alpha_t = 0), where x0 = (z - sigma eps) / alpha needs its own eps, and to the data,
    where there is no second noise to predict.
    """

    def init(z):
        return Past(jnp.zeros((3, *z.shape), z.dtype), jnp.zeros((), jnp.int32))

    def step(denoise, process, keys, z, t, s, past):
        at_t, at_s = alpha_sigma_like(process, t, z), alpha_sigma_like(process, s, z)
        x0 = denoise(z, t).x0
        eps = noise_of(x0, z, *at_t)
        ahead = transfer(x0, z, at_t, at_s)
        # by how much alpha_s x0 + sigma_s eps changes with eps
        width = jnp.where(has_data(at_t), at_s[1] - at_s[0] * relative_noise(at_t), 0.0)

        def improved_euler():
            there = noise_of(denoise(ahead, s).x0, ahead, *at_s)
            return jnp.where(at_s[1] > 0, (there - eps) / 2, 0.0)

        def extrapolate():
            weights = jnp.asarray(WEIGHTS)[jnp.minimum(past.count, 3)]
            return (weights[0] - 1) * eps + jnp.tensordot(weights[1:], past.eps, 1)

        is_first = (past.count == 0) & jnp.any(has_data(at_t) & (at_s[1] > 0))
        change = jax.lax.cond(is_first, improved_euler, extrapolate)
        newer = jnp.concatenate([eps[None], past.eps[:-1]])
        return ahead + width * change, Past(newer, past.count + 1)

    return Sampler(step, init)
