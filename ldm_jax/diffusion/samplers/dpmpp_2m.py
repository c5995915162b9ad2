"""DPM-Solver++(2M), multistep of order 2 (Lu et al. 2022b, algorithm 2)."""

from typing import NamedTuple

import jax.numpy as jnp

from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.transfer import AlphaSigma, half_log_snr, transfer
from ldm_jax.types import Array, Sampler


class Past(NamedTuple):
    """The step before; lambda = -inf before the first one, which gives it no weight."""

    x0: Array  # [B, h, w, c]
    lam: Array  # [B, 1, 1, 1]


def nothing(z: Array) -> Past:
    """The state before the first step."""
    return Past(jnp.zeros_like(z), jnp.full((len(z),) + (1,) * (z.ndim - 1), -jnp.inf, z.dtype))


def extrapolated(x0: Array, past: Past, at_t: AlphaSigma, at_s: AlphaSigma) -> Array:
    """D of algorithm 2: x0 half a step ahead, on the line through this step and the last.

    Of order 1 where h is infinite: from pure noise, and to the data.
    """
    lam = half_log_snr(at_t)
    h = half_log_snr(at_s) - lam
    return x0 + jnp.where(jnp.isfinite(h), h / (2 * (lam - past.lam)), 0.0) * (x0 - past.x0)


def dpmpp_2m() -> Sampler:
    """One network call a step."""

    def step(denoise, process, keys, z, t, s, past):
        at_t, at_s = alpha_sigma_like(process, t, z), alpha_sigma_like(process, s, z)
        x0 = denoise(z, t).x0
        ahead = transfer(extrapolated(x0, past, at_t, at_s), z, at_t, at_s)
        return ahead, Past(x0, half_log_snr(at_t))

    return Sampler(step, nothing)
