"""Terms of the first stage's loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.losses.kl import kl_to_standard_normal
from ldm_jax.losses.reconstruction import l1, l2
from ldm_jax.types import Gaussian

SHAPE = (3, 2, 2, 2)


def test_the_standard_normal_is_at_no_distance_from_itself():
    q = Gaussian(jnp.zeros(SHAPE), jnp.zeros(SHAPE))
    assert kl_to_standard_normal(q).tolist() == [0.0] * 3


@pytest.mark.parametrize(("mean", "std"), [(1.0, 1.0), (0.0, 2.0), (-2.0, 0.5)])
def test_kl_has_its_closed_form_in_nats(mean, std):
    """(m^2 + s^2 - 1) / 2 - log s for each of the 8 numbers of an example."""
    q = Gaussian(jnp.full(SHAPE, mean), jnp.full(SHAPE, 2 * np.log(std)))
    closed = 8 * ((mean**2 + std**2 - 1) / 2 - np.log(std))
    np.testing.assert_allclose(kl_to_standard_normal(q), [closed] * 3, rtol=1e-5)


def test_kl_is_the_mean_of_the_log_ratio():
    """E_q[log q(z) - log p(z)], estimated."""
    mean, log_variance = jax.random.normal(jax.random.key(0), (2, 1, 2, 2, 2))
    std = jnp.exp(0.5 * log_variance)
    noise = jax.random.normal(jax.random.key(1), (20_000, 2, 2, 2))
    z = mean + std * noise
    ratio = jnp.sum((jnp.square(z) - jnp.square(noise)) / 2 - jnp.log(std), axis=(1, 2, 3))
    error = 4 * jnp.std(ratio) / np.sqrt(len(ratio))
    assert abs(jnp.mean(ratio) - kl_to_standard_normal(Gaussian(mean, log_variance))[0]) < error


@pytest.mark.parametrize(("distance", "expected"), [(l1, 12.0 * 0.5), (l2, 12.0 * 0.25)])
def test_reconstruction_errors_are_sums_over_each_image(distance, expected):
    image = jax.random.uniform(jax.random.key(0), (3, 2, 2, 3))
    off = image.at[0].add(0.5).at[2].add(-0.5)
    np.testing.assert_allclose(distance(image, off), [expected, 0.0, expected], rtol=1e-5)
