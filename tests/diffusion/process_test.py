"""Noising processes: the tables, their closed forms, and the chain they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import process

T = 1000
BETAS = {
    "linear": process.linear_betas(T),
    "scaled_linear": process.scaled_linear_betas(T),
    "stable_diffusion": process.scaled_linear_betas(T, 0.00085, 0.012),
    "cosine": process.cosine_betas(T),
}
every_schedule = pytest.mark.parametrize("betas", BETAS.values(), ids=BETAS)


def alpha_bar(betas):
    return np.square(np.asarray(process.ddpm(betas).alphas, np.float64))


@every_schedule
def test_variance_is_preserved(betas):
    p = process.ddpm(betas)
    np.testing.assert_allclose(p.alphas**2 + p.sigmas**2, 1.0, rtol=3e-7)


@every_schedule
def test_time_runs_from_data_to_noise(betas):
    p = process.ddpm(betas)
    assert p.T == T
    assert (p.alphas[0], p.sigmas[0]) == (1.0, 0.0)
    assert np.all(np.diff(p.alphas) < 0)
    assert np.all(np.diff(p.sigmas) > 0) or betas is BETAS["cosine"]  # its last two round to 1
    assert np.all(np.diff(p.alphas[1:] / p.sigmas[1:]) < 0)  # so the signal-to-noise ratio falls


@every_schedule
def test_step_by_step_is_the_same_as_at_once(betas):
    """z_t = sqrt(1 - beta) z_{t-1} + sqrt(beta) eps, composed, has the table's moments."""
    mean, variance = [1.0], [0.0]
    for beta in betas:
        mean.append(np.sqrt(1.0 - beta) * mean[-1])
        variance.append((1.0 - beta) * variance[-1] + beta)
    p = process.ddpm(betas)
    np.testing.assert_allclose(p.alphas, mean, rtol=3e-7)
    np.testing.assert_allclose(p.sigmas, np.sqrt(variance), rtol=3e-7)


def test_linear_betas_end_where_the_papers_do():
    betas = BETAS["linear"]
    np.testing.assert_allclose(betas[[0, -1]], [1e-4, 0.02])
    np.testing.assert_allclose(np.diff(betas), (0.02 - 1e-4) / (T - 1))
    np.testing.assert_allclose(alpha_bar(betas)[-1], 4.0358e-5, rtol=1e-4)


def test_scaled_linear_betas_are_linear_under_the_root():
    betas = BETAS["stable_diffusion"]
    np.testing.assert_allclose(betas[[0, -1]], [0.00085, 0.012])
    np.testing.assert_allclose(np.diff(np.sqrt(betas), 2), 0.0, atol=1e-15)
    np.testing.assert_allclose(alpha_bar(betas)[-1], 0.0046602, rtol=1e-4)


def test_cosine_alpha_bar_is_equation_17():
    """f(t) / f(0) with f(t) = cos^2((t / T + s) / (1 + s) pi / 2); the last is clipped."""

    def f(t):
        return np.cos((t / T + 0.008) / 1.008 * np.pi / 2) ** 2

    t = np.arange(T)
    np.testing.assert_allclose(alpha_bar(BETAS["cosine"])[:-1], f(t) / f(0), rtol=1e-6)
    np.testing.assert_allclose(alpha_bar(BETAS["cosine"])[T // 2], 0.493844, rtol=1e-5)
    assert BETAS["cosine"].max() == 0.999


def test_the_network_counts_steps_from_zero():
    assert process.network_time(jnp.arange(1, T + 1)).tolist() == list(range(T))


def test_each_example_is_noised_at_its_own_time():
    p = process.ddpm(BETAS["linear"])
    x0, noise = jax.random.normal(jax.random.key(0), (2, 4, 3, 3, 2))
    t = jnp.array([0, 1, 500, T])
    z = process.add_noise(p, x0, noise, t)
    for i, at in enumerate(t):
        expected = p.alphas[at] * x0[i] + p.sigmas[at] * noise[i]
        np.testing.assert_allclose(z[i], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(z[0], x0[0])


def test_rates_have_the_shape_of_the_times():
    p = process.ddpm(BETAS["linear"])
    for shape in ((), (3,), (3, 2)):
        alpha, sigma = p.rates(jnp.full(shape, 7))
        assert alpha.shape == sigma.shape == shape
    alpha, sigma = process.rates_like(p, jnp.array([1, 2, 3]), jnp.zeros((3, 4, 4, 2)))
    assert alpha.shape == sigma.shape == (3, 1, 1, 1)
