"""Rescaled classifier-free guidance (Lin et al. 2024, section 3.4)."""

import jax.numpy as jnp

from ldm_jax.diffusion.guidance.classifier_free import Adjust
from ldm_jax.diffusion.prediction import Prediction, noise_of
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.types import Array, Process


def rescale(fraction: Array | float, process: Process, prediction: Prediction) -> Adjust:
    """Gives the guided output the standard deviation of the conditional one, which keeps colours.

    As in the paper, the network's output (eps, v, ...) is rescaled, not x0.

    Args:
        fraction: phi of eq. 16, the share of the rescaled output; 0 changes nothing.
    """

    def adjust(guided: Array, conditional: Array, z: Array, t: Array) -> Array:
        alpha, sigma = alpha_sigma_like(process, t, z)

        def output(x0):
            return prediction.target(x0, noise_of(x0, z, alpha, sigma), alpha, sigma)

        def std(x):
            return jnp.std(x, axis=tuple(range(1, x.ndim)), keepdims=True)

        raw = output(guided)
        ratio = std(output(conditional)) / jnp.maximum(std(raw), jnp.finfo(raw.dtype).tiny)
        raw *= fraction * ratio + (1.0 - fraction)  # eq. 14 to 16
        return jnp.where(fraction == 0.0, guided, prediction.x0(raw, z, alpha, sigma))

    return adjust
