"""The step that most samplers share, their coordinates lambda and rho, and the phi functions."""

import math

import jax.numpy as jnp

from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.types import Array

AlphaSigma = tuple[Array, Array]  # alpha and sigma at one time, shaped to multiply the data


def transfer(x0: Array, z: Array, at_t: AlphaSigma, at_s: AlphaSigma) -> Array:
    """z at time s, from z at time t along the probability flow if x0 stayed constant.

    alpha_s x0 + sigma_s eps (Song, Meng and Ermon 2021, eq. 12 with sigma = 0), which is also the
    exponential integrator of Lu et al. 2022b (DPM-Solver++),
    sigma_s / sigma_t z + alpha_s (1 - exp(-h)) x0, with h the change of lambda.
    Solvers of higher order take the same step with a better x0. Exact where alpha_t = 0 or
    sigma_s = 0; sigma_t must not be 0.
    """
    return at_s[0] * x0 + at_s[1] * noise_of(x0, z, *at_t)


def has_data(alpha_sigma: AlphaSigma) -> Array:
    """Whether z depends on the data: not at pure noise, nor where float32 rounds alpha off."""
    return alpha_sigma[0] > 2.0**-24 * alpha_sigma[1]


def half_log_snr(alpha_sigma: AlphaSigma) -> Array:
    """lambda = log(alpha / sigma): -inf at pure noise, inf at data."""
    return jnp.log(alpha_sigma[0]) - jnp.log(alpha_sigma[1])


def relative_noise(alpha_sigma: AlphaSigma) -> Array:
    """rho = sigma / alpha, the noise level of z / alpha: inf at pure noise, 0 at data."""
    return alpha_sigma[1] / alpha_sigma[0]


def phi(k: int, x: Array) -> Array:
    """phi_k(x), the sum over j of x^j / (j + k)!, for finite x <= 0: a function of exponential
    integrators (Hochbruck and Ostermann 2010).

    phi_0 = exp, phi_k+1(x) = (phi_k(x) - 1 / k!) / x; by the series near 0, where that cancels.
    """
    far = jnp.where(jnp.abs(x) < 1, -1.0, x)
    value = jnp.exp(far)
    for i in range(k):
        value = (value - 1 / math.factorial(i)) / far
    near = jnp.where(jnp.abs(x) < 1, x, 0.0)
    series = 0.0
    for j in reversed(range(12)):  # Horner
        series = series * near + 1 / math.factorial(j + k)
    return jnp.where(jnp.abs(x) < 1, series, value)
