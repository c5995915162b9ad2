"""Functions of every noising process z_t = alpha_t x + sigma_t eps; the processes: `processes/`.

Time follows the papers: t = 0 is data, t = T is noise. Discrete processes are trained at
t = 1 ... T, and alpha and sigma are interpolated between these. (The original code counts timesteps
from 0, and so do networks: `Process.timestep`.)
"""

import jax.numpy as jnp

from ldm_jax.types import Array, Process


def add_noise(process: Process, x0: Array, noise: Array, t: Array) -> Array:
    """z_t ~ q(z_t | x_0) (Ho et al. 2020, eq. 4).

    Args:
        x0, noise: [B, ...].
        t: [B] times.
    """
    alpha, sigma = alpha_sigma_like(process, t, x0)
    return alpha * x0 + sigma * noise


def alpha_sigma_like(process: Process, t: Array, x: Array) -> tuple[Array, Array]:
    """alpha_t and sigma_t for t [B], shaped [B, 1, ..., 1] to multiply x [B, ...]."""
    shape = t.shape + (1,) * (x.ndim - t.ndim)
    alpha, sigma = process.alpha_sigma(t)
    return alpha.reshape(shape), sigma.reshape(shape)


def log_snr(process: Process, t: Array) -> Array:
    """log(alpha_t^2 / sigma_t^2): inf at the data, -inf where nothing is left of them."""
    alpha, sigma = process.alpha_sigma(t)
    return 2.0 * (jnp.log(alpha) - jnp.log(sigma))
