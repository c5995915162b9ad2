"""Draws from a prior, and interpolations between them."""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.sampling import prior
from tests.support import tiny

SHAPE = (1, 1, 20)


def test_the_middle_of_an_interpolation_is_as_far_out_as_gaussian_draws_are():
    """The middle of a straight line would be nearer to zero by sqrt(2)."""
    z = prior.interpolated(0, 200, 3, SHAPE)
    squares = np.square(np.asarray(z)).sum(axis=(1, 2, 3)).reshape(200, 3).mean(axis=0)
    np.testing.assert_allclose(squares, 20.0, rtol=0.1)


def test_draws_are_standard_normal_and_belong_to_their_seeds():
    z = prior.normal(np.arange(500), SHAPE)
    assert z.shape == (500, *SHAPE)
    np.testing.assert_allclose(jnp.mean(z), 0.0, atol=0.05)
    np.testing.assert_allclose(jnp.std(z), 1.0, atol=0.05)
    np.testing.assert_array_equal(prior.normal(np.array([7, 3]), SHAPE), z[jnp.array([7, 3])])


def test_each_row_goes_between_two_seeds_of_its_own():
    z = prior.interpolated(5, 2, 4, SHAPE).reshape(2, 4, *SHAPE)
    ends = prior.normal(np.arange(5, 9), SHAPE).reshape(2, 2, *SHAPE)
    np.testing.assert_allclose(z[:, [0, -1]], ends, atol=1e-6)


def test_images_are_decoded_as_the_prior_gives_their_latents():
    """Whatever the scale that a second stage would see, and never beyond [-1, 1]."""

    def decode(params, latents):
        return params["gain"] * (latents / params["scale"] + params["shift"])

    stage = tiny.first_stage(decode=decode)
    params = {"gain": 0.5, "scale": jnp.array(2.0), "shift": jnp.array(0.3)}
    z = jax.random.normal(jax.random.key(0), (50, 1, 1, 3))
    expected = np.clip(0.5 * z, -1, 1)
    np.testing.assert_allclose(prior.make_draw(stage)(params, z), expected, atol=1e-6)
