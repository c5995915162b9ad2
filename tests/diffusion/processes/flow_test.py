"""Flows: straight and circular paths, and the shift of their times."""

import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion.processes import flow
from ldm_jax.diffusion.processes.flow import Flow, shifted

T = 1000
TIMES = jnp.array([0, 1, 250, 500, 999, 1000])


def test_the_rectified_path_is_straight():
    alpha, sigma = Flow(flow.rectified, T).alpha_sigma(TIMES)
    np.testing.assert_allclose(sigma, TIMES / T, rtol=1e-6)
    np.testing.assert_allclose(alpha, 1 - TIMES / T, atol=1e-7)


def test_the_cosine_path_is_a_quarter_of_a_circle():
    alpha, sigma = Flow(flow.cosine, T).alpha_sigma(TIMES)
    np.testing.assert_allclose(np.arctan2(sigma, alpha), np.pi / 2 * TIMES / T, atol=1e-6)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1.0, rtol=1e-6)


@pytest.mark.parametrize("path", [flow.rectified, flow.cosine])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_the_ends_are_exact(path, shift):
    alpha, sigma = Flow(path, T, shift).alpha_sigma(jnp.array([0, T]))
    assert (alpha.tolist(), sigma.tolist()) == ([1.0, 0.0], [0.0, 1.0])


def test_a_shift_of_three_at_half_time_is_three_quarters():
    """u' = s u / (1 + (s - 1) u) (Esser et al. 2024, eq. 23)."""
    np.testing.assert_allclose(Flow(T=T, shift=3.0).alpha_sigma(jnp.array(500))[1], 0.75, rtol=1e-6)


def test_a_shift_multiplies_the_noise_ratio():
    """As many more pixels that average the noise away need (Esser et al. 2024, section 5.3.2)."""
    u = jnp.linspace(0.05, 0.95, 19)
    after = shifted(u, 2.5)
    np.testing.assert_allclose(after / (1 - after), 2.5 * u / (1 - u), rtol=1e-5)
    np.testing.assert_allclose(shifted(after, 1 / 2.5), u, rtol=1e-5)


def test_networks_are_given_a_thousand_times_the_noise():
    for steps in (1000, 50):
        p = Flow(flow.rectified, steps, shift=3.0)
        t = jnp.array([0.2, 0.5, 1.0]) * steps
        np.testing.assert_allclose(p.timestep(t), 1000 * p.alpha_sigma(t)[1], rtol=1e-6)
