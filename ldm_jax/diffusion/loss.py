"""The training objective."""

from collections.abc import Callable

import jax.numpy as jnp

from ldm_jax.diffusion.prediction import Prediction
from ldm_jax.diffusion.process import add_noise, network_time, rates_like
from ldm_jax.types import Array, Process


def simple_loss(
    network: Callable[[Array, Array], Array],
    process: Process,
    prediction: Prediction,
    x0: Array,
    noise: Array,
    t: Array,
) -> Array:
    """|| target - network(z_t, t) ||^2 averaged over each example (Ho et al. 2020, eq. 14).

    Args:
        network: (z [B, h, w, c], steps [B] counted from 0) -> raw output [B, h, w, c].
        x0, noise: [B, h, w, c].
        t: [B] times in 1 ... T.

    Returns:
        [B], one loss an example.
    """
    alpha, sigma = rates_like(process, t, x0)
    raw = network(add_noise(process, x0, noise, t), network_time(t))
    error = raw - prediction.target(x0, noise, alpha, sigma)
    return jnp.mean(jnp.square(error), axis=tuple(range(1, x0.ndim)))
