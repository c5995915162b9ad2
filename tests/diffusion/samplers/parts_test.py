"""The parts that samplers are made of, and which samplers are one and the same."""

import math
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax import config
from ldm_jax.diffusion import spacing
from ldm_jax.diffusion.process import alpha_sigma_like, log_snr
from ldm_jax.diffusion.samplers import lms
from ldm_jax.diffusion.samplers.churn import Churn, add_churn
from ldm_jax.diffusion.samplers.ddim import ddim
from ldm_jax.diffusion.samplers.dpmpp_2m import dpmpp_2m
from ldm_jax.diffusion.samplers.dpmpp_2m_sde import dpmpp_2m_sde
from ldm_jax.diffusion.samplers.dpmpp_3m import dpmpp_3m
from ldm_jax.diffusion.samplers.euler import euler
from ldm_jax.diffusion.samplers.euler_ancestral import euler_ancestral
from ldm_jax.diffusion.samplers.loop import normal_like, sample
from ldm_jax.diffusion.samplers.names import SAMPLERS
from ldm_jax.diffusion.samplers.transfer import phi
from ldm_jax.diffusion.samplers.unipc import unipc
from tests.diffusion.samplers import exact
from tests.support.every import PROCESSES, T

KEYS = exact.keys(2)
Z = jax.random.normal(jax.random.key(1), (2, 4, 4, 1))


def trajectory(sampler, p, grid):
    return sample(sampler, exact.MIXTURE.denoiser(p), p, jnp.asarray(grid), Z, KEYS)


def test_the_config_names_every_spacing():
    assert get_args(config.SpacingName) == tuple(spacing.SPACINGS)


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_phi_is_the_integral_that_defines_it(k):
    """phi_k(x) = int_0^1 exp((1 - s) x) s^(k - 1) / (k - 1)! ds; also where recursion cancels."""
    x = np.array([-40.0, -5.0, -1.001, -0.999, -0.1, -1e-4, 0.0])
    nodes, weights = np.polynomial.legendre.leggauss(60)
    s = (nodes[:, None] + 1) / 2
    expected = np.exp(x)
    if k:
        inside = np.exp((1 - s) * x) * s ** (k - 1) / math.factorial(k - 1)
        expected = weights @ inside / 2
    np.testing.assert_allclose(phi(k, jnp.asarray(x, jnp.float32)), expected, rtol=2e-6)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_the_weights_of_lms_integrate_cubics_exactly(degree):
    rho = np.array([2.0, 3.5, 4.0, 9.0])
    weights = np.asarray(lms.weights(jnp.asarray(rho), jnp.float32(0.5)))
    expected = (0.5 ** (degree + 1) - 2.0 ** (degree + 1)) / (degree + 1)
    np.testing.assert_allclose(weights @ rho**degree, expected, rtol=1e-5)


def test_a_node_of_lms_at_infinity_counts_for_nothing():
    few = lms.weights(jnp.array([2.0, 3.5]), jnp.float32(0.5))
    more = lms.weights(jnp.array([2.0, 3.5, jnp.inf, jnp.inf]), jnp.float32(0.5))
    np.testing.assert_allclose(more, [*few, 0.0, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(lms.weights(jnp.full(4, jnp.inf), jnp.float32(0.5)), 0.0)


@pytest.mark.parametrize("name", ["linear", "cosine", "edm", "rectified_flow"])
def test_churn_takes_the_noise_to_the_level_that_it_says(name):
    """sigma / alpha grows by 1 + churn, and what is there stays: q(z_higher | z_t)."""
    p, t = PROCESSES[name], jnp.array([40.5, 300.0])
    raised, higher = add_churn(Churn(0.2), p, KEYS, Z, t)
    np.testing.assert_allclose(log_snr(p, t) - log_snr(p, higher), 2 * np.log(1.2), rtol=1e-3)
    (alpha, sigma), (to_alpha, to_sigma) = alpha_sigma_like(p, t, Z), alpha_sigma_like(p, higher, Z)
    added = np.sqrt(to_sigma**2 - (to_alpha / alpha * sigma) ** 2)
    np.testing.assert_allclose(
        raised, to_alpha / alpha * Z + added * normal_like(KEYS, Z), atol=1e-3
    )
    louder, _ = add_churn(Churn(0.2, s_noise=1.5), p, KEYS, Z, t)
    np.testing.assert_allclose(
        louder - to_alpha / alpha * Z, 1.5 * (raised - to_alpha / alpha * Z), atol=1e-4
    )


def test_churn_stays_within_its_levels_and_its_bound():
    """S_tmin <= sigma / alpha <= S_tmax, and a step raises the level by at most sqrt(2)."""
    p, t = PROCESSES["linear"], jnp.array([100.0, 600.0])
    low, high = (float(x) for x in jnp.exp(-log_snr(p, t) / 2))
    for churn, raised in (
        (Churn(0.2, s_tmin=1.01 * low), [False, True]),
        (Churn(0.2, s_tmax=0.99 * high), [True, False]),
        (Churn(0.2, s_tmin=0.99 * low, s_tmax=1.01 * high), [True, True]),
        (Churn(0.0), [False, False]),
    ):
        z, higher = add_churn(churn, p, KEYS, Z, t)
        assert (higher > t).tolist() == raised
        for same, before, after in zip(raised, Z, z, strict=True):
            assert np.array_equal(before, after) != same
    _, higher = add_churn(Churn(9.0), p, KEYS, Z, t)
    np.testing.assert_allclose(log_snr(p, t) - log_snr(p, higher), np.log(2), rtol=1e-3)


def test_churn_ends_where_the_process_does():
    for name in ("linear", "edm", "zero_terminal_snr", "rectified_flow"):
        p, t = PROCESSES[name], jnp.array([T - 0.25, T])
        z, higher = add_churn(Churn(0.4), p, KEYS, Z, t)
        assert np.isfinite(z).all()
        assert (t <= higher).all() and (higher <= T).all()
        np.testing.assert_allclose(z[1], Z[1], atol=1e-2)  # from pure noise there is no way up


@pytest.mark.parametrize("name", ["linear", "edm", "rectified_flow"])
def test_euler_is_ddim(name):
    p = PROCESSES[name]
    grid = spacing.times("trailing", p, 8)
    np.testing.assert_allclose(trajectory(euler(), p, grid), trajectory(ddim(), p, grid), atol=1e-5)


def test_euler_in_rho_and_in_the_time_of_a_flow_are_the_same():
    """d(z / alpha) / d rho = eps, and dz / du = eps - x_0."""
    p, t, s = PROCESSES["rectified_flow"], jnp.full(2, 700.0), jnp.full(2, 450.0)
    denoise = exact.MIXTURE.denoiser(p)
    found, _ = euler().step(denoise, p, KEYS, Z, t, s, ())
    x0 = denoise(Z, t).x0
    eps = (Z - 0.3 * x0) / 0.7
    np.testing.assert_allclose(found, Z + (0.45 - 0.7) * (eps - x0), atol=1e-5)
    np.testing.assert_allclose(found, 0.55 * (Z / 0.3 + (0.45 / 0.55 - 0.7 / 0.3) * eps), atol=1e-5)


@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize("name", ["linear", "edm", "rectified_flow"])
def test_euler_ancestral_goes_down_to_rho_down_and_up_by_rho_up(name, eta):
    p, t, s = PROCESSES[name], jnp.full(2, 700.0), jnp.full(2, 450.0)
    denoise = exact.MIXTURE.denoiser(p)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = alpha_sigma_like(p, t, Z), alpha_sigma_like(p, s, Z)
    rho_t, rho_s = sigma_t / alpha_t, sigma_s / alpha_s
    rho_up = eta * np.sqrt(rho_s**2 * (rho_t**2 - rho_s**2) / rho_t**2)
    rho_down = np.sqrt(rho_s**2 - rho_up**2)
    slope = (Z / alpha_t - denoise(Z, t).x0) / rho_t
    expected = Z / alpha_t + (rho_down - rho_t) * slope + rho_up * normal_like(KEYS, Z)
    found, _ = euler_ancestral(eta).step(denoise, p, KEYS, Z, t, s, ())
    np.testing.assert_allclose(found, alpha_s * expected, rtol=1e-4, atol=1e-4)


def test_without_noise_the_sde_of_2m_is_2m():
    p = PROCESSES["linear"]
    grid = spacing.times("trailing", p, 8)
    np.testing.assert_allclose(
        trajectory(dpmpp_2m_sde(0.0), p, grid), trajectory(dpmpp_2m(), p, grid), atol=2e-5
    )


@pytest.mark.parametrize(
    ("sampler", "lower", "steps"),
    [(dpmpp_2m(), ddim(), 1), (dpmpp_3m(), dpmpp_2m(), 2), (unipc(), ddim(), 1)],
    ids=["2m", "3m", "unipc"],
)
def test_the_first_steps_of_a_multistep_sampler_are_of_lower_order(sampler, lower, steps):
    p, grid = PROCESSES["linear"], np.array([1000, 800, 600, 400], np.float32)
    same = [grid[: K + 1] for K in range(1, steps + 1)]
    for shorter in same:
        np.testing.assert_array_equal(
            trajectory(sampler, p, shorter), trajectory(lower, p, shorter)
        )
    longer = grid[: steps + 2]
    assert np.abs(trajectory(sampler, p, longer) - trajectory(lower, p, longer)).max() > 1e-3


@pytest.mark.parametrize("name", exact.DETERMINISTIC)
def test_the_step_from_pure_noise_teaches_solvers_of_higher_order_nothing(name):
    """x_0 changes infinitely slowly over lambda there; each of them takes DDIM's step."""
    p, grid = PROCESSES["rectified_flow"], np.array([T, 600], np.float32)
    found = trajectory(SAMPLERS[name].make(), p, grid)
    np.testing.assert_allclose(found, trajectory(ddim(), p, grid), atol=1e-6)
