"""Weights of times that are learned: a log-variance u(t) of the loss.

The loss L becomes L / exp(u) + u, which is smallest where exp(u) is the mean of L: every time comes
to have the same weight (Karras et al. 2024, eq. 16; the latent diffusion code's `logvar`).
"""

import jax.numpy as jnp

from ldm_jax.types import Array, Params, Process


def init(process: Process) -> Params:
    """u = 0 at every whole time 1 ... T."""
    return {"log_variance": jnp.zeros(process.T)}


def log_variance(params: Params, t: Array) -> Array:
    """u at times t [B], linear between whole times, [B]."""
    table = params["log_variance"]
    return jnp.interp(t, jnp.arange(1.0, len(table) + 1.0), table)


def weighted(losses: Array, log_variance: Array) -> Array:
    """L / exp(u) + u, [B]."""
    return losses * jnp.exp(-log_variance) + log_variance
