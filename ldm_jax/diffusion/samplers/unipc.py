"""UniPC, predictor and corrector in one (Zhao et al. 2023), with p = 2 and B(h) = exp(h) - 1."""

from typing import NamedTuple

import jax.numpy as jnp

from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers import dpmpp_2m
from ldm_jax.diffusion.samplers.transfer import AlphaSigma, half_log_snr, phi, transfer
from ldm_jax.types import Array, Sampler


class Past(NamedTuple):
    """The last step, and the x0 of the one before it."""

    z: Array  # [B, h, w, c] at its beginning, corrected
    alpha_sigma: AlphaSigma  # at its beginning
    x0: Array
    before: dpmpp_2m.Past


def unipc() -> Sampler:
    """UniPC-2 in data prediction; order 3, one network call a step.

    Each call serves twice: it corrects the step before (UniC, algorithm 1), and predicts the next
    one (UniP), which for p = 2 is the step of DPM-Solver++(2M). The last step is not corrected, as
    no call follows it.
    """

    def init(z):
        scalar = jnp.zeros((len(z),) + (1,) * (z.ndim - 1), z.dtype)
        return Past(z, (scalar, scalar + 1), jnp.zeros_like(z), dpmpp_2m.nothing(z))

    def step(denoise, process, keys, z, t, s, past):
        at_t, at_s = alpha_sigma_like(process, t, z), alpha_sigma_like(process, s, z)
        x0 = denoise(z, t).x0
        z = jnp.where(past.alpha_sigma[0] > 0, _corrected(x0, at_t, past), z)
        last = dpmpp_2m.Past(past.x0, half_log_snr(past.alpha_sigma))
        ahead = transfer(dpmpp_2m.extrapolated(x0, last, at_t, at_s), z, at_t, at_s)
        return ahead, Past(z, at_t, x0, last)

    return Sampler(step, init)


def _corrected(x0: Array, at_t: AlphaSigma, past: Past) -> Array:
    """z at time t, from the last step's beginning and the x0 of both of its ends."""
    lam = half_log_snr(past.alpha_sigma)
    h = jnp.where(jnp.isfinite(lam), half_log_snr(at_t) - lam, 1.0)
    change = x0 - past.x0
    # rho for nodes at r and 1: rho_1 + rho_2 = b_1, r rho_1 + rho_2 = b_2
    has_before = jnp.isfinite(past.before.lam)
    r = jnp.where(has_before, (past.before.lam - lam) / h, -1.0)
    b_1, b_2 = phi(2, -h) / phi(1, -h), 2 * phi(3, -h) / phi(1, -h)
    rho_1 = (b_1 - b_2) / (1 - r)
    earlier = (past.before.x0 - past.x0) / r
    second = rho_1 * earlier + (b_1 - rho_1) * change
    corrected = past.x0 + jnp.where(has_before, second, change / 2)
    return transfer(corrected, past.z, past.alpha_sigma, at_t)
