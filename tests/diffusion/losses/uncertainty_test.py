"""Learned weights of times."""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.losses import uncertainty
from tests.support.every import PROCESSES, T

PARAMS = uncertainty.init(PROCESSES["linear"])


def test_at_first_every_time_weighs_what_it_weighs():
    losses = jnp.array([0.1, 2.0, 3.0])
    u = uncertainty.log_variance(PARAMS, jnp.array([1, 2, T]))
    np.testing.assert_array_equal(uncertainty.weighted(losses, u), losses)


def test_it_is_smallest_at_the_logarithm_of_the_loss():
    losses = jnp.array([0.01, 0.5, 7.0])
    slope = jax.grad(lambda u: jnp.sum(uncertainty.weighted(losses, u)))
    np.testing.assert_allclose(slope(jnp.log(losses)), 0.0, atol=1e-6)
    assert np.all(slope(jnp.log(losses) + 0.1) > 0)
    assert np.all(slope(jnp.log(losses) - 0.1) < 0)


def test_between_whole_times_it_is_linear():
    params = {"log_variance": jnp.arange(1.0, T + 1) ** 2}
    u = uncertainty.log_variance(params, jnp.array([1.0, 2.5, 3.0, T, 0.5]))
    np.testing.assert_allclose(u, [1.0, 6.5, 9.0, T**2, 1.0])
