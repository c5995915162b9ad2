"""Draws from a prior, and walks between them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from ldm_jax.pipelines import prior

SHAPE = (1, 1, 20)


def angle(a, b):
    a, b = np.ravel(a), np.ravel(b)
    return np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))


def walk(a, b, steps):
    w = jnp.linspace(0.0, 1.0, steps)
    a, b = (jnp.broadcast_to(jnp.float32(x), (steps, *np.shape(x))) for x in (a, b))
    return np.asarray(prior.slerp(a, b, w))


def test_a_walk_on_the_sphere_stays_on_it_at_even_pace():
    a, b = [2.0, 0.0, 0.0], [1.0, 1.0, np.sqrt(2)]  # of the same length, 60 degrees apart
    path = walk(a, b, 7)
    np.testing.assert_allclose(np.linalg.norm(path, axis=-1), 2.0, rtol=1e-6)
    turns = [angle(x, y) for x, y in itertools.pairwise(path)]
    np.testing.assert_allclose(turns, np.pi / 3 / 6, rtol=1e-3)


def test_a_walk_ends_at_both_ends():
    a, b = np.random.default_rng(0).normal(size=(2, 4, 4, 3))
    path = walk(a, b, 5)
    np.testing.assert_allclose(path[0], a, atol=1e-6)
    np.testing.assert_allclose(path[-1], b, atol=1e-6)


@pytest.mark.parametrize("off", [0.0, 1e-7, 1e-4, 1e-2])
def test_between_near_neighbours_the_walk_is_straight(off):
    a = np.array([3.0, 4.0, 0.0])
    b = a + off * np.array([0.0, 0.0, 1.0])
    expected = a + np.linspace(0, 1, 5)[:, None] * (b - a)
    np.testing.assert_allclose(walk(a, b, 5), expected, atol=1e-4 * off + 1e-6)


def test_the_middle_of_a_walk_is_as_far_out_as_gaussian_draws_are():
    """The middle of a straight line would be nearer to zero by sqrt(2)."""
    z = prior.walks(0, 200, 3, SHAPE)
    squares = np.square(np.asarray(z)).sum(axis=(1, 2, 3)).reshape(200, 3).mean(axis=0)
    np.testing.assert_allclose(squares, 20.0, rtol=0.1)


def test_draws_are_standard_normal_and_belong_to_their_seeds():
    z = prior.normal(np.arange(500), SHAPE)
    assert z.shape == (500, *SHAPE)
    np.testing.assert_allclose(jnp.mean(z), 0.0, atol=0.05)
    np.testing.assert_allclose(jnp.std(z), 1.0, atol=0.05)
    np.testing.assert_array_equal(prior.normal(np.array([7, 3]), SHAPE), z[jnp.array([7, 3])])


def test_each_row_walks_between_two_seeds_of_its_own():
    z = prior.walks(5, 2, 4, SHAPE).reshape(2, 4, *SHAPE)
    ends = prior.normal(np.arange(5, 9), SHAPE).reshape(2, 2, *SHAPE)
    np.testing.assert_allclose(z[:, [0, -1]], ends, atol=1e-6)


def test_pictures_are_decoded_as_the_prior_gives_their_latents():
    """Whatever the scale that a second stage would see, and never beyond [-1, 1]."""

    def decode(params, latents):
        return params["gain"] * (latents / params["scale"] + params["shift"])

    stage = tiny.first_stage(decode=decode)
    params = {"gain": 0.5, "scale": jnp.array(2.0), "shift": jnp.array(0.3)}
    z = jax.random.normal(jax.random.key(0), (50, 1, 1, 3))
    expected = np.clip(0.5 * z, -1, 1)
    np.testing.assert_allclose(prior.make_draw(stage)(params, z), expected, atol=1e-6)
