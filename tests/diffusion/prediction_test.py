"""Predictions: the target that the loss compares with and the x0 that it stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import prediction
from ldm_jax.diffusion.process import add_noise, alpha_sigma_like
from tests.support.every import PREDICTIONS, PROCESSES, every_pair, every_process

TIMES = jnp.array([1e-3, 0.5, 1, 2, 50.5, 500, 999, 999.9, 1000])
X0, NOISE = jax.random.normal(jax.random.key(0), (2, len(TIMES), 4, 4, 2))


def at_times(p):
    """alpha, sigma and z at every time."""
    return *alpha_sigma_like(p, TIMES, X0), add_noise(p, X0, NOISE, TIMES)


@every_pair
def test_x0_undoes_target_at_both_ends_of_time(p, kind):
    alpha, sigma, z = at_times(p)
    raw = kind.target(X0, NOISE, alpha, sigma)
    x0 = kind.x0(raw, z, alpha, sigma)
    slope = jnp.abs(kind.x0(jnp.ones(()), jnp.zeros(()), alpha, sigma))
    rounding = 4e-6 * (1.0 + slope)  # of eps, x0 is a small difference late in time
    assert jnp.all(jnp.isfinite(raw))
    assert jnp.all(jnp.abs(x0 - X0) < rounding * jnp.maximum(1.0, jnp.abs(X0) + jnp.abs(NOISE)))


@every_pair
def test_inputs_and_outputs_of_networks_are_of_order_one(p, kind):
    """Where data have the standard deviation that is expected."""
    std = 0.5 if kind is PREDICTIONS["edm"] else 1.0
    alpha, sigma, _ = at_times(p)
    x0 = std * X0
    seen = kind.scale(alpha, sigma) * add_noise(p, x0, NOISE, TIMES)
    answered = kind.target(x0, NOISE, alpha, sigma)
    for numbers in (seen, answered):
        spread = jnp.std(numbers, axis=(1, 2, 3))
        assert jnp.all((spread > 0.45) & (spread < 2.0)), spread


@every_process
def test_the_noise_behind_x0(p):
    alpha, sigma, z = at_times(p)
    noise = prediction.noise_of(X0, z, alpha, sigma)
    assert jnp.all(jnp.abs(noise - NOISE) < 4e-6 * (1.0 + alpha / sigma))


def test_v_is_the_velocity_of_the_rotation():
    """With alpha = cos(phi), sigma = sin(phi): v = dz / dphi (Salimans and Ho 2022)."""
    phi = jnp.linspace(0.1, 1.4, len(TIMES))[:, None, None, None]

    def z(phi):
        return jnp.cos(phi) * X0 + jnp.sin(phi) * NOISE

    _, velocity = jax.jvp(z, (phi,), (jnp.ones_like(phi),))
    v = prediction.v.target(X0, NOISE, jnp.cos(phi), jnp.sin(phi))
    np.testing.assert_allclose(v, velocity, rtol=1e-5, atol=1e-6)


def test_velocity_is_that_of_the_rectified_flow():
    p = PROCESSES["rectified_flow"]
    t = TIMES[1:-1]
    _, found = jax.jvp(lambda t: add_noise(p, X0[1:-1], NOISE[1:-1], t), (t,), (jnp.ones_like(t),))
    alpha, sigma = alpha_sigma_like(p, t, X0)
    velocity = prediction.velocity.target(X0[1:-1], NOISE[1:-1], alpha, sigma)
    np.testing.assert_allclose(p.T * found, velocity, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(prediction.velocity.scale(alpha, sigma), 1.0, rtol=1e-6)


@pytest.mark.parametrize("data_std", [0.5, 1.0])
def test_edm_preconditions_with_the_papers_coefficients(data_std):
    """Karras et al. 2022, table 1, where alpha = 1."""
    p, kind = PROCESSES["edm"], prediction.edm(data_std)
    alpha, sigma, z = at_times(p)
    s, d = np.asarray(sigma, np.float64), data_std
    skip, out = d**2 / (s**2 + d**2), s * d / np.sqrt(s**2 + d**2)
    np.testing.assert_allclose(kind.scale(alpha, sigma), 1 / np.sqrt(s**2 + d**2), rtol=1e-6)
    F = jnp.cos(3 * z)
    np.testing.assert_allclose(kind.x0(F, z, alpha, sigma), skip * z + out * F, rtol=1e-5)
    late = np.s_[1:]  # before, their formula divides a small difference
    expected = (X0 - skip * np.asarray(z, np.float64)) / out
    target = kind.target(X0, NOISE, alpha, sigma)
    np.testing.assert_allclose(target[late], expected[late], atol=2e-3)


@every_process
def test_with_data_of_unit_variance_edm_is_minus_v(p):
    alpha, sigma, _ = at_times(p)
    edm = prediction.edm(1.0).target(X0, NOISE, alpha, sigma)
    v = prediction.v.target(X0, NOISE, alpha, sigma)
    np.testing.assert_allclose(edm, -v, atol=1e-5)
