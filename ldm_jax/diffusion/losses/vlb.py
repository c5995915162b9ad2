"""The variational bound, a step at a time (Ho et al. 2020, eq. 5), and the whole of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.losses.simple import mean_flat
from ldm_jax.diffusion.posterior import posterior, reverse_step
from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.diffusion.process import add_noise, alpha_sigma_like
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.types import Array, Denoise, Denoised, Gaussian, Process


def bound(
    process: Process, denoised: Denoised, x0: Array, z: Array, t: Array, levels: int | None = None
) -> Array:
    """L_{t-1} in bits per dimension: KL(q(z_{t-1} | z_t, x_0) || p(z_{t-1} | z_t)); at t = 1 L_0.

    Args:
        denoised: the denoiser's output for z.
        x0, z: [B, h, w, c], z at time t.
        t: [B] whole times in 1 ... T.
        levels: N, where data are images of N levels in -1 ... 1: L_0 is then their probability;
            None: the density of x0.

    Returns:
        [B].
    """
    p = reverse_step(process, denoised, z, t, t - 1)
    divergence = kl(posterior(process, x0, z, t, t - 1), p)
    nats = -(log_density(x0, p) if levels is None else log_probability(x0, p, levels))
    first = (t == 1).reshape(-1, 1, 1, 1)
    return mean_flat(jnp.where(first, nats, divergence)) / jnp.log(2.0)


def prior(process: Process, x0: Array) -> Array:
    """L_T in bits per dimension, [B]: KL(q(z_T | x_0) || N(0, initial_noise_std^2))."""
    alpha, sigma = process.alpha_sigma(jnp.array(process.T))
    std = process.initial_noise_std(jnp.array(process.T))
    q = Gaussian(alpha * x0, 2.0 * jnp.log(sigma))
    p = Gaussian(jnp.zeros_like(x0), 2.0 * jnp.log(std))
    return mean_flat(kl(q, p)) / jnp.log(2.0)


def kl(q: Gaussian, p: Gaussian) -> Array:
    """KL(q || p) in nats, elementwise; 0 where q's variance is 0, which has none."""
    distance = jnp.square(q.mean - p.mean) * jnp.exp(-p.log_variance)
    ratio = jnp.where(jnp.isfinite(q.log_variance), q.log_variance - p.log_variance, 0.0)
    return 0.5 * (jnp.exp(ratio) - 1.0 - ratio + distance)


def log_density(x: Array, p: Gaussian) -> Array:
    """log p(x) in nats, elementwise."""
    square = jnp.square(x - p.mean) * jnp.exp(-p.log_variance)
    return -0.5 * (square + p.log_variance + jnp.log(2.0 * jnp.pi))


def log_probability(x: Array, p: Gaussian, levels: int) -> Array:
    """log of p's mass around x, one of N levels in -1 ... 1 (Ho et al. 2020, eq. 13).

    In nats. The outermost levels reach to infinity. The normal distribution function is
    approximated by a hyperbolic tangent, as in the code that computed the published numbers.
    """

    def cdf(x):  # (1 + tanh(y)) / 2 = sigmoid(2 y), which keeps its digits where it is small
        return jax.nn.sigmoid(2.0 * (2.0 / jnp.pi) ** 0.5 * (x + 0.044715 * x**3))

    precision, half = jnp.exp(-0.5 * p.log_variance), 1.0 / (levels - 1)
    # the distribution is symmetric: the side on which it is small, so that the difference is exact
    side = jnp.where(x > p.mean, -1.0, 1.0)
    middle = side * (x - p.mean)
    above = jnp.where(side * x > 0.999, 1.0, cdf((middle + half) * precision))
    below = jnp.where(side * x < -0.999, 0.0, cdf((middle - half) * precision))
    return jnp.log(jnp.maximum(above - below, 1e-12))


def frozen(denoised: Denoised) -> Denoised:
    """The same, with no gradient to the mean: the variance learns, the mean does not (Nichol and
    Dhariwal 2021, section 3.1)."""
    return denoised._replace(x0=jax.lax.stop_gradient(denoised.x0))


class Bound(NamedTuple):
    """The bound and its terms, all in bits per dimension but for the errors."""

    total: Array  # [B] upper bound of the bits: the sum of the prior and all terms
    prior: Array  # [B] L_T, which does not depend on the denoiser
    terms: Array  # [B, T] L_0 ... L_{T-1}, of the steps from t = 1 ... T
    x0_error: Array  # [B, T] mean squared error of x0 at t = 1 ... T
    eps_error: Array  # [B, T] mean squared error of the noise


def variational_bound(
    denoise: Denoise, process: Process, x0: Array, keys: Array, levels: int | None = None
) -> Bound:
    """The whole bound (Nichol and Dhariwal 2021, section 3), at the cost of T passes.

    Args:
        x0: [B, h, w, c].
        keys: [B] one key an example; the noise at time t is drawn from fold_in(key, t).
        levels: of pixels in -1 ... 1, which have probabilities; None: x0 has a density, which may
            be greater than 1, and bits below 0.
    """

    def at(t):
        times = jnp.full(len(x0), t)
        noise = normal_like(jax.vmap(jax.random.fold_in, (0, None))(keys, t), x0)
        z = add_noise(process, x0, noise, times)
        denoised = denoise(z, times)
        eps = noise_of(denoised.x0, z, *alpha_sigma_like(process, times, z))
        return (
            bound(process, denoised, x0, z, times, levels),
            mean_flat(jnp.square(denoised.x0 - x0)),
            mean_flat(jnp.square(eps - noise)),
        )

    terms, x0_error, eps_error = (x.T for x in jax.lax.map(at, jnp.arange(1, process.T + 1)))
    first = prior(process, x0)
    return Bound(first + jnp.sum(terms, axis=1), first, terms, x0_error, eps_error)
