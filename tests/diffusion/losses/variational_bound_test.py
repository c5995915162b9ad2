"""The variational bound of a Gaussian, whose likelihood is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion.losses import vlb
from ldm_jax.diffusion.losses.vlb import variational_bound
from ldm_jax.diffusion.posterior import reverse_step
from ldm_jax.diffusion.process import add_noise, alpha_sigma_like
from ldm_jax.diffusion.processes import betas, flow
from ldm_jax.diffusion.processes.ddpm import ddpm
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.types import Denoised

M, S, N = 0.3, 0.5, 512
X0 = M + S * jax.random.normal(jax.random.key(0), (N, 2, 2, 1))
KEYS = jax.random.split(jax.random.key(1), N)


def denoiser(p):
    """E[x0 | z] of data N(M, S^2)."""

    def denoise(z, t):
        alpha, sigma = alpha_sigma_like(p, t, z)
        variance = jnp.square(alpha * S) + jnp.square(sigma)
        return Denoised(M + alpha * S**2 / variance * (z - alpha * M))

    return denoise


def sure_of_its_steps(p):
    """The same, with the variance that its steps have: p(z_s | z_t) is the true one."""

    def denoise(z, t):
        (alpha_t, sigma_t), (alpha_s, sigma_s) = (
            alpha_sigma_like(p, t, z),
            alpha_sigma_like(p, t - 1, z),
        )
        beta = jnp.square(sigma_t) - jnp.square(alpha_t / alpha_s * sigma_s)
        left = jnp.square(sigma_t * S) / (jnp.square(alpha_t * S) + jnp.square(sigma_t))
        of_x0 = jnp.square(alpha_s * beta / jnp.square(sigma_t)) * left
        variance = beta * jnp.square(sigma_s / sigma_t) + of_x0
        lower = reverse_step(p, Denoised(z), z, t, t - 1).log_variance
        fraction = (jnp.log(variance) - lower) / (jnp.log(beta) - lower)
        return denoiser(p)(z, t)._replace(variance_fraction=jnp.broadcast_to(fraction, z.shape))

    return denoise


def even(T):
    """A discrete process whose log-SNR falls evenly."""
    alpha_bar = jax.nn.sigmoid(np.linspace(5.0, -8.0, T))
    return ddpm(1.0 - alpha_bar / np.append(1.0, alpha_bar[:-1]))


def bound(p, denoise):
    return jax.jit(lambda x0: variational_bound(denoise, p, x0, KEYS))(X0)


@pytest.fixture(scope="module")
def bounds():
    """Of more and more steps, with the variance of the noise that each undoes."""

    def larger(p):
        return lambda z, t: denoiser(p)(z, t)._replace(variance_fraction=jnp.ones_like(z))

    return {T: bound(even(T), larger(even(T))) for T in (8, 32, 128)}


ENTROPY = 0.5 * np.log2(2 * np.pi * np.e * S**2)  # of the data, in bits per dimension


def test_it_is_never_below_the_entropy_and_comes_down_to_it(bounds):
    gaps = np.array([float(jnp.mean(b.total)) - ENTROPY for b in bounds.values()])
    noise = 4 * np.array([float(jnp.std(b.total)) for b in bounds.values()]) / np.sqrt(N)
    assert np.all(gaps > -noise)
    assert np.all(np.diff(gaps) < 0), gaps
    assert gaps[-1] < 0.1 * gaps[0], gaps


@pytest.mark.parametrize("T", [3, 16])
def test_with_the_true_variances_it_is_the_entropy_however_few_steps(T):
    p = flow.Flow(flow.cosine, T)
    total = bound(p, sure_of_its_steps(p)).total
    assert abs(jnp.mean(total) - ENTROPY) < 4 * jnp.std(total) / np.sqrt(N)
    assert jnp.mean(bound(p, denoiser(p)).total) > ENTROPY + 0.1


def test_the_total_is_the_sum_of_its_terms(bounds):
    for T, b in bounds.items():
        assert b.terms.shape == b.x0_error.shape == b.eps_error.shape == (N, T)
        np.testing.assert_allclose(b.total, b.prior + jnp.sum(b.terms, axis=1), atol=1e-5)


def test_every_term_is_that_of_training():
    p = ddpm(betas.linear(6, 0.05, 0.5))
    found = bound(p, denoiser(p))
    for t in (1, 2, 6):
        at = jnp.full(N, t)
        noise = normal_like(jax.vmap(jax.random.fold_in, (0, None))(KEYS, t), X0)
        z = add_noise(p, X0, noise, at)
        answer = denoiser(p)(z, at)
        expected = vlb.bound(p, answer, X0, z, at)
        np.testing.assert_allclose(found.terms[:, t - 1], expected, rtol=1e-3, atol=1e-5)
        error = jnp.mean(jnp.square(answer.x0 - X0), axis=(1, 2, 3))
        np.testing.assert_allclose(found.x0_error[:, t - 1], error, rtol=1e-4)
        alpha, sigma = p.alpha_sigma(t)
        np.testing.assert_allclose(
            found.eps_error[:, t - 1], error * (alpha / sigma) ** 2, rtol=1e-3
        )


def test_the_best_denoiser_makes_it_smallest():
    p = flow.Flow(flow.cosine, 16)

    def off(z, t):
        return Denoised(denoiser(p)(z, t).x0 + 0.2)

    worse = variational_bound(off, p, X0, KEYS).total
    assert jnp.mean(worse) > jnp.mean(bound(p, denoiser(p)).total) + 0.05


def test_images_of_few_levels_cost_little_more_than_their_entropy():
    """With a denoiser that knows how often each of sixteen levels is."""
    p = even(64)
    levels = jnp.linspace(-1.0, 1.0, 16)
    nearest = jnp.argmin(jnp.abs(X0[..., None] - levels), axis=-1)
    probability = jnp.bincount(nearest.ravel(), length=16) / nearest.size

    def denoise(z, t):
        alpha, sigma = alpha_sigma_like(p, t, z[..., None])
        far = jnp.square((z[..., None] - alpha * levels) / sigma)
        weights = jax.nn.softmax(jnp.log(probability) - 0.5 * far, axis=-1)
        return Denoised(jnp.sum(weights * levels, axis=-1), jnp.ones_like(z))

    total = variational_bound(denoise, p, levels[nearest], KEYS, levels=16).total
    known = probability[probability > 0]
    entropy = -jnp.sum(known * jnp.log2(known))
    assert entropy < jnp.mean(total) < entropy + 0.3
