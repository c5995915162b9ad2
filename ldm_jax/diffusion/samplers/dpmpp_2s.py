"""DPM-Solver++(2S), singlestep of order 2 (Lu et al. 2022b, algorithm 1 with r = 1/2)."""

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.transfer import half_log_snr, transfer
from ldm_jax.types import Sampler


def dpmpp_2s() -> Sampler:
    """A step with x0 at its midpoint in lambda, which a step of order 1 reaches first.

    Two network calls a step. From pure noise and to the data lambda is infinite and has no
    midpoint: there the step is of order 1, with one call.
    """

    def step(denoise, process, keys, z, t, s, state):
        at_t, at_s = alpha_sigma_like(process, t, z), alpha_sigma_like(process, s, z)
        x0 = denoise(z, t).x0
        middle = (half_log_snr(at_t) + half_log_snr(at_s)) / 2
        between = jnp.isfinite(middle)

        def midpoint():
            lam = jnp.where(between, middle, 0.0).reshape(t.shape)
            time = jnp.where(between.reshape(t.shape), process.time_at(2 * lam), t)
            half = transfer(x0, z, at_t, alpha_sigma_like(process, time, z))
            return jnp.where(between, denoise(half, time).x0, x0)

        predicted = jax.lax.cond(jnp.any(between), midpoint, lambda: x0)
        return transfer(predicted, z, at_t, at_s), state

    return Sampler(step)
