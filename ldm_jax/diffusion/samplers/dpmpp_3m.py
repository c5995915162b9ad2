"""DPM-Solver++(3M), multistep of order 3 (Lu et al. 2022b)."""

from typing import NamedTuple

import jax.numpy as jnp

from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers import dpmpp_2m
from ldm_jax.diffusion.samplers.transfer import half_log_snr, phi, transfer
from ldm_jax.types import Sampler


class Past(NamedTuple):
    """The last two steps."""

    last: dpmpp_2m.Past
    before: dpmpp_2m.Past


def dpmpp_3m(curvature: float = 2.0) -> Sampler:
    """One network call a step; the second step is that of 2M, the first of order 1.

    So is the step from pure noise, and that to the data, where h is infinite.

    Args:
        curvature: of the divided difference of second order, which is half the second derivative.
            2 is the full second derivative. The published code has 1, which is of order 2.
    """

    def init(z):
        return Past(dpmpp_2m.nothing(z), dpmpp_2m.nothing(z))

    def step(denoise, process, keys, z, t, s, past):
        at_t, at_s = alpha_sigma_like(process, t, z), alpha_sigma_like(process, s, z)
        x0, lam = denoise(z, t).x0, half_log_snr(at_t)
        second = dpmpp_2m.extrapolated(x0, past.last, at_t, at_s)
        known = jnp.isfinite(past.before.lam) & jnp.isfinite(half_log_snr(at_s))
        h = jnp.where(known, half_log_snr(at_s) - lam, 1.0)
        h_0 = jnp.where(known, lam - past.last.lam, 1.0)
        h_1 = jnp.where(known, past.last.lam - past.before.lam, 1.0)
        # divided differences of x0 over lambda, times h and h^2: Newton's parabola
        slope = h / h_0 * (x0 - past.last.x0)
        earlier = h / h_1 * (past.last.x0 - past.before.x0)
        second_difference = h / (h_0 + h_1) * (slope - earlier)
        slope = slope + h_0 / h * second_difference
        # alpha_s h (phi_1 x0 + phi_2 x0' h + phi_3 x0'' h^2), the integral of the parabola
        weighted = phi(2, -h) * slope + curvature * phi(3, -h) * second_difference
        third = x0 + weighted / phi(1, -h)
        ahead = transfer(jnp.where(known, third, second), z, at_t, at_s)
        return ahead, Past(dpmpp_2m.Past(x0, lam), past.last)

    return Sampler(step, init)
