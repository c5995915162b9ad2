"""Steps of the chain backwards, against Bayes' rule and the formulas of its papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion.posterior import posterior, reverse_step
from ldm_jax.diffusion.processes import betas
from ldm_jax.types import Denoised
from tests.support.every import PROCESSES, every_process

X0, Z = jax.random.normal(jax.random.key(0), (2, 6, 2, 2, 1))
T = jnp.array([2, 3, 100, 500, 999, 1000])
LINEAR = PROCESSES["linear"]


def in_float64(*arrays):
    return [np.asarray(x, np.float64).reshape(-1, 1, 1, 1) for x in arrays]


@every_process
@pytest.mark.parametrize("stride", [1, 7])
def test_the_posterior_is_bayes_rule(p, stride):
    """q(z_s | x_0) = N(alpha_s x_0, sigma_s^2), times the likelihood of z_t."""
    t, s = T, jnp.maximum(T - stride, 1)
    (a_t, v_t), (a_s, v_s) = in_float64(*p.alpha_sigma(t)), in_float64(*p.alpha_sigma(s))
    a = a_t / a_s
    beta = v_t**2 - (a * v_s) ** 2
    precision = 1 / v_s**2 + a**2 / beta
    mean = (a_s * np.asarray(X0) / v_s**2 + a * np.asarray(Z) / beta) / precision
    found = posterior(p, X0, Z, t, s)
    scale = np.maximum(1.0, np.abs(mean))
    assert np.all(np.abs(found.mean - mean) < 2e-3 * scale)  # beta is a small difference
    np.testing.assert_allclose(found.log_variance, -np.log(precision), atol=4e-3)


def test_the_step_to_the_data_is_the_data():
    q = posterior(LINEAR, X0, Z, jnp.full(6, 1), jnp.full(6, 0))
    np.testing.assert_allclose(q.mean, X0, atol=1e-6)
    assert np.all(q.log_variance == -np.inf)


def test_learned_variance_is_equation_15_between_the_papers_two():
    """exp(v log beta_t + (1 - v) log beta_tilde_t), the first beta_tilde being the second's."""
    beta = betas.linear(1000)
    bar = np.cumprod(1 - beta)
    tilde = beta * (1 - np.concatenate([[1.0], bar[:-1]])) / (1 - bar)
    tilde[0] = tilde[1]
    t = np.array([1, 2, 3, 500, 999, 1000])
    v = np.linspace(0, 1, X0.size).reshape(X0.shape)
    lower, upper = (np.log(x[t - 1]).reshape(-1, 1, 1, 1) for x in (tilde, beta))
    denoised = Denoised(X0, jnp.asarray(v, jnp.float32))
    p = reverse_step(LINEAR, denoised, Z, jnp.asarray(t), jnp.asarray(t - 1))
    np.testing.assert_allclose(p.log_variance, v * upper + (1 - v) * lower, rtol=2e-4)


def test_a_score_moves_the_mean_by_the_variance_times_it():
    t = jnp.full(6, 300)
    score = jax.random.normal(jax.random.key(1), X0.shape)
    fraction = jnp.full(X0.shape, 0.3)
    plain = reverse_step(LINEAR, Denoised(X0, fraction), Z, t, t - 10)
    moved = reverse_step(LINEAR, Denoised(X0, fraction, score), Z, t, t - 10)
    np.testing.assert_array_equal(moved.log_variance, plain.log_variance)
    expected = np.exp(plain.log_variance) * score
    np.testing.assert_allclose(moved.mean - plain.mean, expected, atol=1e-6)


def test_over_a_stride_it_is_that_of_the_shorter_chain():
    """Every tenth step, with the betas that give its alpha_bar (Nichol and Dhariwal 2021, 19)."""
    bar = np.cumprod(1 - betas.linear(1000))[9::10]
    before = np.concatenate([[1.0], bar[:-1]])
    beta = 1 - bar / before
    tilde = beta * (1 - before) / (1 - bar)
    tilde[0] = tilde[1]
    n = np.array([1, 2, 3, 50, 99, 100])  # steps of the shorter chain
    v = np.linspace(0, 1, X0.size).reshape(X0.shape)
    lower, upper = (np.log(x[n - 1]).reshape(-1, 1, 1, 1) for x in (tilde, beta))
    denoised = Denoised(X0, jnp.asarray(v, jnp.float32))
    p = reverse_step(LINEAR, denoised, Z, jnp.asarray(10 * n), jnp.asarray(10 * (n - 1)))
    np.testing.assert_allclose(p.log_variance, v * upper + (1 - v) * lower, rtol=2e-4)


@every_process
def test_the_variance_of_a_step_is_finite_at_both_ends_of_time(p):
    t = jnp.array([0.01, 1, 2, 500.5, 999, 1000])
    for fraction in (None, jnp.full_like(X0, 0.3)):
        step = reverse_step(p, Denoised(X0, fraction), Z, t, jnp.maximum(t - 1, 0))
        assert np.isfinite(step.log_variance).all()
        assert np.isfinite(step.mean).all()


def test_without_a_learned_variance_it_is_the_posteriors():
    q = posterior(LINEAR, X0, Z, T, T - 1)
    p = reverse_step(LINEAR, Denoised(X0), Z, T, T - 1)
    np.testing.assert_array_equal(p.mean, q.mean)
    np.testing.assert_array_equal(p.log_variance, q.log_variance)
