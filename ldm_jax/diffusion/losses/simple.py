"""The simple loss: the distance of a network's output to its target (Ho et al. 2020, eq. 14)."""

from collections.abc import Callable

import jax.numpy as jnp

from ldm_jax.diffusion.prediction import Prediction
from ldm_jax.types import Array

Distance = Callable[[Array], Array]  # error -> loss, elementwise


def huber(delta: float) -> Distance:
    """error^2 up to delta, 2 delta |error| - delta^2 beyond."""

    def distance(error):
        size = jnp.abs(error)
        return jnp.where(size < delta, jnp.square(error), delta * (2.0 * size - delta))

    return distance


def simple(
    raw: Array,
    prediction: Prediction,
    x0: Array,
    noise: Array,
    alpha: Array,
    sigma: Array,
    distance: Distance = jnp.square,
) -> Array:
    """The distance between a raw output and its target, averaged over each example.

    Args:
        raw, x0, noise: [B, h, w, c].
        alpha, sigma: [B, 1, 1, 1].

    Returns:
        [B].
    """
    return mean_flat(distance(raw - prediction.target(x0, noise, alpha, sigma)))


def mean_flat(x: Array) -> Array:
    """The mean of each example: [B, ...] -> [B]."""
    return jnp.mean(x, axis=tuple(range(1, x.ndim)))
