"""What a network predicts, and how clean data follows from it.

Each prediction is three functions of alpha and sigma: the target of the loss, x0 as a function of
the raw output, and the factor of the network's input. Each is affine in x0 at fixed z, and holds
for every process, variance-preserving or not.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from ldm_jax.types import Array


class Prediction(NamedTuple):
    """One parametrisation of the denoiser; alpha and sigma broadcast against the data."""

    # (x0, noise, alpha, sigma) -> what the network is trained to predict
    target: Callable[[Array, Array, Array, Array], Array]
    # (raw output, z, alpha, sigma) -> clean data
    x0: Callable[[Array, Array, Array, Array], Array]
    # (alpha, sigma) -> c_in, the factor of the network's input z
    scale: Callable[[Array, Array], Array]


def _norm(alpha: Array, sigma: Array) -> Array:
    """The standard deviation of z where data have unit variance."""
    return jnp.sqrt(jnp.square(alpha) + jnp.square(sigma))


# Ho et al. 2020, eq. 9 and 14: the noise itself. Not where alpha = 0.
eps = Prediction(
    target=lambda x0, noise, alpha, sigma: noise,
    x0=lambda raw, z, alpha, sigma: (z - sigma * raw) / alpha,
    scale=lambda alpha, sigma: 1.0 / _norm(alpha, sigma),
)

# The clean data.
x0 = Prediction(
    target=lambda x0, noise, alpha, sigma: x0,
    x0=lambda raw, z, alpha, sigma: raw,
    scale=lambda alpha, sigma: 1.0 / _norm(alpha, sigma),
)

# Salimans and Ho 2022, appendix D: v = alpha eps - sigma x, with alpha and sigma divided by their
# norm, which is 1 where variance is preserved.
v = Prediction(
    target=lambda x0, noise, alpha, sigma: (alpha * noise - sigma * x0) / _norm(alpha, sigma),
    x0=lambda raw, z, alpha, sigma: (
        (alpha * z / _norm(alpha, sigma) - sigma * raw) / _norm(alpha, sigma)
    ),
    scale=lambda alpha, sigma: 1.0 / _norm(alpha, sigma),
)

# Liu, Gong and Liu 2023, eq. 1: eps - x, the velocity of the straight path from data to noise,
# on which z / (alpha + sigma) lies for any process.
velocity = Prediction(
    target=lambda x0, noise, alpha, sigma: noise - x0,
    x0=lambda raw, z, alpha, sigma: (z - sigma * raw) / (alpha + sigma),
    scale=lambda alpha, sigma: 1.0 / (alpha + sigma),
)


def edm(data_std: float) -> Prediction:
    """The preconditioned network F of Karras et al. 2022, eq. 7 and table 1.

    x0 = c_skip z + c_out F(c_in z), with their formulas for z / alpha, whose noise has the
    standard deviation sigma / alpha. With data of unit variance, F is -v.

    Args:
        data_std: standard deviation of the data.
    """

    def norm(alpha, sigma):
        return jnp.sqrt(jnp.square(sigma) + jnp.square(alpha * data_std))

    def target(x0, noise, alpha, sigma):  # (x0 - c_skip z) / c_out, without dividing by sigma
        return (sigma / data_std * x0 - alpha * data_std * noise) / norm(alpha, sigma)

    def clean(raw, z, alpha, sigma):
        skip = alpha * jnp.square(data_std / norm(alpha, sigma)) * z
        return skip + sigma * data_std / norm(alpha, sigma) * raw

    return Prediction(target, clean, scale=lambda alpha, sigma: 1.0 / norm(alpha, sigma))


def noise_of(x0: Array, z: Array, alpha: Array, sigma: Array) -> Array:
    """The noise that a predicted x0 implies: eps = (z - alpha x0) / sigma, for sigma > 0."""
    return (z - alpha * x0) / sigma
