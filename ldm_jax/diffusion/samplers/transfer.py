"""The step that most samplers share, and the coordinates in which they count."""

import jax.numpy as jnp

from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.types import Array

Rates = tuple[Array, Array]  # alpha and sigma at one time, shaped to multiply the data


def transfer(x0: Array, z: Array, at_t: Rates, at_s: Rates) -> Array:
    """Where the probability flow takes z from time t to time s if the clean data stay x0.

    alpha_s x0 + sigma_s eps (Song, Meng and Ermon 2021, eq. 12 with sigma = 0), which is also the
    exponential integrator of Lu et al. 2022b (DPM-Solver++),
    sigma_s / sigma_t z + alpha_s (1 - exp(-h)) x0, with h the change of lambda.
    Solvers of higher order take the same step with a better x0. Exact where alpha_t = 0 or
    sigma_s = 0; sigma_t must not be 0.
    """
    return at_s[0] * x0 + at_s[1] * noise_of(x0, z, *at_t)


def has_data(rates: Rates) -> Array:
    """Whether z says anything of the data: not at pure noise, nor where float32 rounds them off."""
    return rates[0] > 2.0**-24 * rates[1]


def half_log_snr(rates: Rates) -> Array:
    """lambda = log(alpha / sigma): -inf at pure noise, inf at data."""
    return jnp.log(rates[0]) - jnp.log(rates[1])


def relative_noise(rates: Rates) -> Array:
    """rho = sigma / alpha, the noise level of z / alpha: inf at pure noise, 0 at data."""
    return rates[1] / rates[0]
