"""The discrete process: its tables, the chain they stand for, and what lies between the steps."""

import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion.processes import betas
from ldm_jax.diffusion.processes.betas import zero_terminal_snr
from ldm_jax.diffusion.processes.ddpm import ddpm

T = 1000
BETAS = {
    "linear": betas.linear(T),
    "scaled_linear": betas.scaled_linear(T),
    "stable_diffusion": betas.scaled_linear(T, 0.00085, 0.012),
    "sqrt": betas.sqrt(T, 1e-4, 0.02),
    "cosine": betas.cosine(T),
    "zero_terminal_snr": zero_terminal_snr(betas.scaled_linear(T)),
}
every_schedule = pytest.mark.parametrize("table", BETAS.values(), ids=BETAS)


@every_schedule
def test_variance_is_preserved(table):
    p = ddpm(table)
    np.testing.assert_allclose(p.alphas**2 + p.sigmas**2, 1.0, rtol=3e-7)
    alpha, sigma = p.alpha_sigma(jnp.linspace(0, T, 777))
    np.testing.assert_allclose(alpha**2 + sigma**2, 1.0, rtol=1e-6)


@every_schedule
def test_time_runs_from_data_to_noise(table):
    p = ddpm(table)
    assert p.T == T
    assert (p.alphas[0], p.sigmas[0]) == (1.0, 0.0)
    assert np.all(np.diff(p.alphas) < 0)
    assert np.all(np.diff(p.sigmas) >= 0)  # where little is left of the data they round to 1
    assert np.all(np.diff(p.alphas[1:] / p.sigmas[1:]) < 0)  # so the signal-to-noise ratio falls


@every_schedule
def test_step_by_step_is_the_same_as_at_once(table):
    """z_t = sqrt(1 - beta) z_{t-1} + sqrt(beta) eps, composed, has the table's moments."""
    mean, variance = [1.0], [0.0]
    for beta in table:
        mean.append(np.sqrt(1.0 - beta) * mean[-1])
        variance.append((1.0 - beta) * variance[-1] + beta)
    p = ddpm(table)
    np.testing.assert_allclose(p.alphas, mean, rtol=3e-7)
    np.testing.assert_allclose(p.sigmas, np.sqrt(variance), rtol=3e-7)


@every_schedule
def test_whole_times_are_the_tables_themselves_whatever_their_type(table):
    p = ddpm(table)
    for t in (jnp.arange(T + 1), jnp.arange(T + 1.0)):
        alpha, sigma = p.alpha_sigma(t)
        np.testing.assert_array_equal(alpha, p.alphas)
        np.testing.assert_array_equal(sigma, p.sigmas)


def test_between_steps_log_snr_is_linear():
    p = ddpm(BETAS["linear"])
    alpha_bar = np.cumprod(1.0 - BETAS["linear"])
    steps = np.log(alpha_bar) - np.log1p(-alpha_bar)
    t = np.array([1.25, 77.5, 500.125, 999.75])
    alpha, sigma = (np.asarray(x, np.float64) for x in p.alpha_sigma(jnp.asarray(t)))
    expected = np.interp(t, np.arange(1, T + 1), steps)
    np.testing.assert_allclose(2 * np.log(alpha / sigma), expected, rtol=1e-5)


def test_before_the_first_step_the_noise_ratio_is_linear():
    p = ddpm(BETAS["linear"])
    alpha, sigma = p.alpha_sigma(jnp.array([0.0, 0.25, 0.5, 1.0]))
    expected = np.array([0.0, 0.25, 0.5, 1.0]) * (p.sigmas[1] / p.alphas[1])
    np.testing.assert_allclose(sigma / alpha, expected, rtol=1e-5)


def test_in_the_last_step_to_zero_snr_the_signal_ratio_is_linear():
    p = ddpm(BETAS["zero_terminal_snr"])
    alpha, sigma = p.alpha_sigma(jnp.array([T - 1.0, T - 0.75, T - 0.25, T]))
    expected = np.array([1.0, 0.75, 0.25, 0.0]) * (p.alphas[T - 1] / p.sigmas[T - 1])
    np.testing.assert_allclose(alpha / sigma, expected, rtol=1e-5)


def test_networks_count_steps_from_zero():
    p = ddpm(BETAS["linear"])
    assert p.timestep(jnp.arange(1, T + 1)).tolist() == list(range(T))
    assert p.timestep(jnp.array([0.5, 1.5, 999.75])).tolist() == [0.0, 0.5, 998.75]


def test_before_the_noise_of_the_last_step_time_stays():
    p = ddpm(BETAS["linear"])
    assert p.time_at(jnp.array([-100.0, -jnp.inf])).tolist() == [T, T]
