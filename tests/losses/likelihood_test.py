"""Likelihoods in nats and in bits, and the bound on the evidence, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ldm_jax.autoencoders.latents import draw
from ldm_jax.losses import likelihood
from ldm_jax.losses.kl import kl_to_standard_normal
from ldm_jax.losses.likelihood import BERNOULLI, GAUSSIAN
from ldm_jax.types import Gaussian
from tests.support import tiny

D = 6


def test_bernoulli_is_the_log_probability_of_binary_pixels():
    logits = jnp.array([[0.0, 2.0, -1.0]])
    y = stats.logistic.cdf(np.asarray(logits))
    for x in ([0, 0, 0], [1, 0, 1], [1, 1, 1]):
        expected = np.sum(stats.bernoulli.logpmf(x, y))
        np.testing.assert_allclose(likelihood.bernoulli(jnp.array([x]), logits), expected, 1e-5)


def test_bernoulli_of_grey_is_the_mean_over_binary_images():
    """A pixel of 0.25 is white in one binary image of four."""
    logits = jnp.array([[0.3]])
    white, black = (likelihood.bernoulli(jnp.array([[x]]), logits) for x in (1.0, 0.0))
    grey = likelihood.bernoulli(jnp.array([[0.25]]), logits)
    np.testing.assert_allclose(grey, 0.25 * white + 0.75 * black, rtol=1e-6)


def test_bernoulli_is_finite_where_the_decoder_is_certain():
    x = jnp.array([[0.0, 1.0]])
    assert likelihood.bernoulli(x, jnp.array([[-1e4, 1e4]])).tolist() == [0.0]
    assert likelihood.bernoulli(x, jnp.array([[1e4, 1e4]])).tolist() == [-1e4]


def test_gaussian_is_the_log_density():
    x, mean, log_variance = jax.random.normal(jax.random.key(0), (3, 4, D))
    scale = np.exp(0.5 * np.asarray(log_variance))
    expected = stats.norm.logpdf(x, mean, scale).sum(axis=-1)
    np.testing.assert_allclose(likelihood.gaussian(x, mean, log_variance), expected, rtol=1e-5)


# Bits


def test_uniform_8_bit_values_take_8_bits_each():
    """Density 1 over all of [0, 1]."""
    nats = likelihood.in_bins(jnp.zeros(3), D)
    np.testing.assert_allclose(likelihood.bits_per_dimension(nats, D), 8.0, rtol=1e-6)


def test_fair_coins_take_1_bit_each():
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (5, D)), jnp.float32)
    nats = BERNOULLI.log_probability(x, jnp.zeros((5, D, 1)), tiny.keys(5))
    np.testing.assert_allclose(likelihood.bits_per_dimension(nats, D), 1.0, rtol=1e-6)


def test_dequantized_values_lie_evenly_in_their_bins():
    k = np.repeat(np.array([[0, 7, 128, 255]]), 4000, axis=0)
    values = np.asarray(likelihood.dequantized(jnp.float32(k / 255), tiny.keys(4000)), np.float64)
    u = 256 * values - k
    assert u.min() >= -1e-4
    assert u.max() <= 1 + 1e-4
    np.testing.assert_allclose(u.mean(0), 0.5, atol=5 * np.sqrt(1 / 12 / 4000))
    np.testing.assert_allclose(u.var(0), 1 / 12, atol=0.01)


@pytest.mark.parametrize("sigma", [1 / 256, 0.05, 1.0])
def test_dequantizing_bounds_the_probability_of_a_bin(sigma):
    """log int_bin p(x) dx is at least the mean of log p over the bin, plus log(1/256)."""
    k, mean = 100, 0.4
    given = jnp.array([np.log(mean / (1 - mean)), 2 * np.log(sigma)])
    given = jnp.broadcast_to(jnp.float32(given), (4000, 1, 2))
    x = jnp.full((4000, 1), k / 255)
    bounds = np.asarray(GAUSSIAN.log_probability(x, given, tiny.keys(4000)))
    error = 5 * bounds.std() / np.sqrt(len(bounds))
    exact = np.log(np.diff(stats.norm.cdf(np.array([k, k + 1]) / 256, mean, sigma))[0])
    assert bounds.mean() <= exact + error
    if sigma > 0.04:  # wide against a bin: next to equal
        np.testing.assert_allclose(bounds.mean(), exact, atol=error + 1e-3)


def test_no_decoder_gets_below_the_entropy_of_what_never_changes():
    """The best Gaussian for one 8-bit value costs log2 sqrt(2 pi e / 12) bits, and never less."""
    x = jnp.full((4000, 1), 99 / 255)
    mean = 99.5 / 256
    logit = np.log(mean / (1 - mean))

    def bits(log_variance):
        given = jnp.broadcast_to(jnp.array([logit, log_variance]), (4000, 1, 2))
        nats = GAUSSIAN.log_probability(x, given, tiny.keys(4000))
        return float(jnp.mean(likelihood.bits_per_dimension(nats, 1)))

    best = -np.log(12 * 256**2)  # the variance of a bin
    np.testing.assert_allclose(bits(best), 0.5 * np.log2(2 * np.pi * np.e / 12), atol=0.02)
    assert bits(best - 1) > bits(best)
    assert bits(best + 1) > bits(best)


# The bound, where everything is Gaussian: z ~ N(0, I), x = W z + s eps

W = np.array([[1.0, 0.5], [-0.5, 2.0], [0.3, 0.3]])
S2 = 0.5
X = np.array([0.7, -1.2, 0.4])
POSTERIOR_COVARIANCE = np.linalg.inv(np.eye(2) + W.T @ W / S2)
POSTERIOR_MEAN = POSTERIOR_COVARIANCE @ W.T @ X / S2
EVIDENCE = stats.multivariate_normal.logpdf(X, np.zeros(3), W @ W.T + S2 * np.eye(3))


def gap(mean, variance):
    """KL(q || p(z|x)) in closed form."""
    precision, off = np.linalg.inv(POSTERIOR_COVARIANCE), mean - POSTERIOR_MEAN
    logs = np.log(np.linalg.det(POSTERIOR_COVARIANCE)) - np.sum(np.log(variance))
    return 0.5 * (np.trace(precision * variance) + off @ precision @ off - len(mean) + logs)


def bound(mean, log_variance, keys):
    """One draw's estimate of L(x), an example a key."""
    n = len(keys)
    q = Gaussian(*(jnp.broadcast_to(a, (n, 1, 1, 2)) for a in (mean, log_variance)))
    z = draw(q, keys)[:, 0, 0]
    x = jnp.broadcast_to(jnp.float32(X), (n, 3))
    log_p = likelihood.gaussian(x, z @ jnp.float32(W).T, jnp.full((n, 3), np.log(S2)))
    return log_p - kl_to_standard_normal(q)


QS = {
    "the prior": (np.zeros(2), np.ones(2)),
    "far": (np.array([1.0, -1.0]), np.array([0.3, 0.1])),
    "the best of its kind": (POSTERIOR_MEAN, 1 / np.diag(np.linalg.inv(POSTERIOR_COVARIANCE))),
}


@pytest.mark.parametrize("name", QS)
def test_the_bound_is_below_the_evidence_by_the_distance_to_the_posterior(name):
    """log p(x) - L(x) = KL(q || p(z|x))."""
    mean, variance = QS[name]
    estimates = np.asarray(
        bound(jnp.float32(mean), jnp.float32(np.log(variance)), tiny.keys(20000))
    )
    error = 5 * estimates.std() / np.sqrt(len(estimates))
    distance = gap(mean, variance)
    assert distance > 0
    np.testing.assert_allclose(estimates.mean(), EVIDENCE - distance, atol=error)


@pytest.mark.parametrize("name", QS)
def test_the_reparametrised_gradient_is_the_gradient_of_the_bound(name):
    """dL / d mean and dL / d log-variance in closed form."""
    mean, variance = QS[name]

    def one(mean, log_variance, key):
        return bound(mean, log_variance, key[None])[0]

    gradient = jax.jit(jax.vmap(jax.grad(one, (0, 1)), (None, None, 0)))
    found = gradient(jnp.float32(mean), jnp.float32(np.log(variance)), tiny.keys(20000))
    precision = np.linalg.inv(POSTERIOR_COVARIANCE)
    closed = precision @ (POSTERIOR_MEAN - mean), 0.5 * (1 - variance * np.diag(precision))
    for estimates, expected in zip(map(np.asarray, found), closed, strict=True):
        error = 5 * estimates.std(0) / np.sqrt(len(estimates)) + 1e-5
        assert np.all(np.abs(estimates.mean(0) - expected) < error)
