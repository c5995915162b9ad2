"""The training objective."""

import jax.numpy as jnp

from ldm_jax.diffusion.denoiser import Network, ask
from ldm_jax.diffusion.prediction import Prediction
from ldm_jax.diffusion.process import add_noise, rates_like
from ldm_jax.types import Array, Process


def simple_loss(
    network: Network,
    process: Process,
    prediction: Prediction,
    x0: Array,
    noise: Array,
    t: Array,
) -> Array:
    """|| target - network(z_t, t) ||^2 averaged over each example (Ho et al. 2020, eq. 14).

    Args:
        network: (input [B, h, w, c], network time [B]) -> raw output [B, h, w, c].
        x0, noise: [B, h, w, c].
        t: [B] times in 1 ... T.

    Returns:
        [B], one loss an example.
    """
    answer = ask(network, process, prediction, add_noise(process, x0, noise, t), t)
    error = answer.raw - prediction.target(x0, noise, *rates_like(process, t, x0))
    return jnp.mean(jnp.square(error), axis=tuple(range(1, x0.ndim)))
