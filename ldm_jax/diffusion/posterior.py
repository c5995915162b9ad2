"""Steps of the chain backwards: from z_t to z_s, with s < t."""

import jax.numpy as jnp

from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.types import Array, Denoised, Gaussian, Process


def posterior(process: Process, x0: Array, z: Array, t: Array, s: Array) -> Gaussian:
    """q(z_s | z_t, x_0) (Ho et al. 2020, eq. 6 and 7, for any two times).

    Args:
        x0, z: [B, h, w, c], z at time t.
        t, s: [B] times, s < t.

    Returns:
        Mean [B, h, w, c] and log-variance [B, 1, 1, 1], which is -inf where s = 0.
    """
    alpha_t, sigma_t = alpha_sigma_like(process, t, z)
    alpha_s, sigma_s = alpha_sigma_like(process, s, z)
    alpha_ts = alpha_t / alpha_s  # z_t = alpha_ts z_s + sqrt(beta) eps
    beta = _beta(process, t, s, z)
    # eq. 7, with sqrt(alpha_bar) = alpha and 1 - alpha_bar = sigma^2
    mean = (alpha_ts * jnp.square(sigma_s) * z + alpha_s * beta * x0) / jnp.square(sigma_t)
    return Gaussian(mean, _log_variance(process, t, s, z))


def reverse_step(process: Process, denoised: Denoised, z: Array, t: Array, s: Array) -> Gaussian:
    """p(z_s | z_t): the posterior at the x0 that the denoiser expects.

    Its variance is the posterior's, or learned: between that and beta_t, linear in the logarithm
    (Nichol and Dhariwal 2021, eq. 15). In the step to the data the posterior's variance is zero;
    that of the step before it is used instead. A score of what guides moves the mean by the
    variance times it (Dhariwal and Nichol 2021, algorithm 1).

    Returns:
        Mean [B, h, w, c], and a log-variance that is finite and broadcasts to it.
    """
    to_data = s == 0
    before, after = jnp.where(to_data, jnp.minimum(2 * t, process.T), t), jnp.where(to_data, t, s)
    log_variance = _log_variance(process, before, after, z)
    if denoised.variance_fraction is not None:
        larger = jnp.log(_beta(process, t, s, z))
        log_variance += denoised.variance_fraction * (larger - log_variance)
    mean = posterior(process, denoised.x0, z, t, s).mean
    if denoised.score is not None:
        mean += jnp.exp(log_variance) * denoised.score
    return Gaussian(mean, log_variance)


def _beta(process: Process, t: Array, s: Array, z: Array) -> Array:
    """Variance of the noise that comes in from s to t: beta_t of Ho et al. 2020, for any times."""
    alpha_t, sigma_t = alpha_sigma_like(process, t, z)
    alpha_s, sigma_s = alpha_sigma_like(process, s, z)
    # 1 - alpha_ts^2 where variance is preserved, without its cancellation at small beta
    beta = jnp.square(sigma_t) - jnp.square(alpha_t / alpha_s * sigma_s)
    return jnp.maximum(beta, jnp.finfo(z.dtype).tiny)


def _log_variance(process: Process, t: Array, s: Array, z: Array) -> Array:
    """log of beta sigma_s^2 / sigma_t^2 (Ho et al. 2020, eq. 7)."""
    (_, sigma_t), (_, sigma_s) = alpha_sigma_like(process, t, z), alpha_sigma_like(process, s, z)
    return jnp.log(_beta(process, t, s, z)) + 2.0 * (jnp.log(sigma_s) - jnp.log(sigma_t))
