"""Churn: noise added before a step and removed by it (Karras et al. 2022, algorithm 2)."""

import math
from typing import NamedTuple

import jax.numpy as jnp

from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.diffusion.samplers.transfer import has_data, relative_noise
from ldm_jax.types import Array, Process


class Churn(NamedTuple):
    """How much noise is added before a step, at which levels, and its standard deviation; scalars.

    Levels are those of Karras et al., rho = sigma / alpha.
    """

    churn: Array | float = 0.0  # S_churn / N, N the number of steps; at most sqrt(2) - 1 is used
    s_tmin: Array | float = 0.0  # no churn below this level
    s_tmax: Array | float = math.inf  # nor above this one
    s_noise: Array | float = 1.0  # standard deviation of what is added


NO_CHURN = Churn()


def add_churn(
    churn: Churn, process: Process, keys: Array, z: Array, t: Array
) -> tuple[Array, Array]:
    """z [B, ...] at times t [B], noised to the level (1 + churn) rho, and the times of that
    level."""
    alpha, sigma = process.alpha_sigma(t)
    level = relative_noise((alpha, sigma))
    churned = (level >= churn.s_tmin) & (level <= churn.s_tmax) & has_data((alpha, sigma))
    gamma = jnp.where(churned, jnp.minimum(churn.churn, math.sqrt(2) - 1), 0.0)
    log_snr = -2 * jnp.log((1 + gamma) * level)
    higher = jnp.where(gamma > 0, process.time_at(log_snr), t)
    alpha, sigma = alpha_sigma_like(process, t, z)
    to_alpha, to_sigma = alpha_sigma_like(process, higher, z)
    ratio = jnp.where(alpha > 0, to_alpha / alpha, 1.0)
    # z_t is noised further: q(z_higher | z_t)
    noise = jnp.sqrt(jnp.maximum(jnp.square(to_sigma) - jnp.square(ratio * sigma), 0.0))
    noise = jnp.where(higher.reshape(noise.shape) > t.reshape(noise.shape), noise, 0.0)
    return ratio * z + churn.s_noise * noise * normal_like(keys, z), higher
