"""Weights of the simple loss over time.

Each is a function of alpha and sigma, given for the squared error of x0, so that it means the same
whatever the network predicts; `of_raw` converts it to a weight of the raw output's error.
"""

from collections.abc import Callable

import jax.numpy as jnp

from ldm_jax.diffusion.prediction import Prediction
from ldm_jax.types import Array

Weight = Callable[[Array, Array], Array]  # (alpha, sigma) -> weight of the error in x0


def min_snr(gamma: float) -> Weight:
    """min(SNR, gamma) (Hang et al. 2023, section 3.4; their gamma is 5)."""

    def weight(alpha, sigma):
        return jnp.minimum(jnp.square(alpha / sigma), gamma)

    return weight


def p2(k: float, gamma: float) -> Weight:
    """SNR / (k + SNR)^gamma: eps' own weight, less of it late (Choi et al. 2022, eq. 8)."""

    def weight(alpha, sigma):
        snr = jnp.square(alpha / sigma)
        return snr / (k + snr) ** gamma

    return weight


def of_raw(weight: Weight, prediction: Prediction, alpha: Array, sigma: Array) -> Array:
    """The weight of the raw output's error that equals `weight` of the error of x0."""
    slope = prediction.x0(jnp.ones_like(alpha), jnp.zeros_like(alpha), alpha, sigma)
    return weight(alpha, sigma) * jnp.square(slope)
