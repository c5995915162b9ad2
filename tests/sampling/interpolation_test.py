"""Between two noises, and between two conditions."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.sampling.interpolation import between, lerp, slerp
from ldm_jax.types import Cond


def angle(a, b):
    a, b = np.ravel(a), np.ravel(b)
    return np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))


def trajectory(a, b, steps):
    w = jnp.linspace(0.0, 1.0, steps)
    a, b = (jnp.broadcast_to(jnp.float32(x), (steps, *np.shape(x))) for x in (a, b))
    return np.asarray(slerp(a, b, w))


def test_an_interpolation_on_the_sphere_stays_on_it_at_even_pace():
    a, b = [2.0, 0.0, 0.0], [1.0, 1.0, np.sqrt(2)]  # of the same length, 60 degrees apart
    path = trajectory(a, b, 7)
    np.testing.assert_allclose(np.linalg.norm(path, axis=-1), 2.0, rtol=1e-6)
    turns = [angle(x, y) for x, y in itertools.pairwise(path)]
    np.testing.assert_allclose(turns, np.pi / 3 / 6, rtol=1e-3)


def test_an_interpolation_ends_at_both_ends():
    a, b = np.random.default_rng(0).normal(size=(2, 4, 4, 3))
    path = trajectory(a, b, 5)
    np.testing.assert_allclose(path[0], a, atol=1e-6)
    np.testing.assert_allclose(path[-1], b, atol=1e-6)


@pytest.mark.parametrize("off", [0.0, 1e-7, 1e-4, 1e-2])
def test_between_near_neighbours_the_interpolation_is_straight(off):
    a = np.array([3.0, 4.0, 0.0])
    b = a + off * np.array([0.0, 0.0, 1.0])
    expected = a + np.linspace(0, 1, 5)[:, None] * (b - a)
    np.testing.assert_allclose(trajectory(a, b, 5), expected, atol=1e-4 * off + 1e-6)


def test_both_ends_are_met_bit_for_bit():
    a, b = np.float32(np.random.default_rng(0).normal(size=(2, 3, 4, 4, 2)))
    for way, end in ((0.0, a), (1.0, b)):
        np.testing.assert_array_equal(slerp(a, b, jnp.full(3, way)), end)
        np.testing.assert_array_equal(lerp(a, b, jnp.full(3, way)), end)


def test_of_conditions_tokens_and_vectors_are_walked_between_and_either_mask_counts():
    tokens, vector = np.ones((2, 3, 4)), np.ones((2, 5))
    seen = np.array([[True, False, False], [True, True, False]])
    a = Cond(tokens=tokens, vector=vector, mask=seen[:1].repeat(2, 0), concat=np.ones((2, 1, 1, 1)))
    b = Cond(tokens=3 * tokens, vector=5 * vector, mask=seen[1:].repeat(2, 0))
    found = between(a, b, jnp.array([0.5, 1.0]))
    np.testing.assert_allclose(found.tokens[:, 0, 0], [2, 3])
    np.testing.assert_allclose(found.vector[:, 0], [3, 5])
    np.testing.assert_array_equal(found.mask, seen[1:].repeat(2, 0))
    np.testing.assert_array_equal(found.concat, a.concat)
    assert between(Cond(), Cond(), jnp.zeros(2)) == Cond()
    levels = Cond(vector=np.array([20, 20], np.int32))
    np.testing.assert_array_equal(between(levels, levels, jnp.full(2, 0.3)).vector, [20, 20])
    assert between(levels, levels, jnp.full(2, 0.3)).vector.dtype == np.int32
