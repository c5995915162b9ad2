"""Patches of latents, seen one by one and blended."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.sampling.patchwise import patchwise, starts, weights
from ldm_jax.types import Cond, DiffusionModel

Z = jax.random.normal(jax.random.key(0), (2, 9, 12, 3))
STEPS = jnp.array([3, 5])


def model(denoise):
    fields = dict.fromkeys(DiffusionModel._fields)
    return DiffusionModel(**{**fields, "denoise": denoise})


def ask(network, patch, cond=Cond(), stride=None):  # noqa: B008
    return patchwise(model(network), patch, stride).denoise({}, Z, STEPS, cond)


def test_a_network_that_looks_at_each_place_alone_gives_the_same():
    def network(params, z, steps, cond):
        given = cond.tokens.sum((1, 2)) + steps
        return z * given[:, None, None, None] + cond.concat

    cond = Cond(concat=jnp.flip(Z, 1), tokens=jnp.arange(12.0).reshape(2, 3, 2))
    expected = network({}, Z, STEPS, cond)
    for patch, stride in ((4, None), (3, 1), (5, 4), (20, None)):
        np.testing.assert_allclose(
            ask(network, patch, cond, stride), expected, rtol=1e-5, atol=1e-5
        )


def test_no_network_sees_more_than_a_patch_and_all_patches_are_one_batch():
    seen = []

    def network(params, z, steps, cond):
        seen.append(z.shape)
        return z

    ask(network, 4)
    rows, columns = len(starts(9, 4, 2)), len(starts(12, 4, 2))
    assert seen == [(2 * rows * columns, 4, 4, 3)]


@pytest.mark.parametrize(
    ("length", "patch", "stride"), [(9, 4, 2), (12, 4, 4), (4, 4, 2), (7, 3, 3)]
)
def test_patches_cover_everything_and_leave_nothing(length, patch, stride):
    covered = np.zeros(length, int)
    for start in starts(length, patch, stride):
        assert 0 <= start <= length - patch
        covered[start : start + patch] += 1
    assert covered.min() >= 1
    assert len(set(starts(length, patch, stride))) == len(starts(length, patch, stride))


def test_where_patches_overlap_the_one_whose_border_is_farther_counts_more():
    def network(params, z, steps, cond):  # says which patch it is, by its first place
        return jnp.broadcast_to(z[:, :1, :1], z.shape)

    found = patchwise(model(network), 4, 2).denoise({}, Z[:, :4, :6], STEPS, Cond())
    w = weights(4, 4)
    for x in range(6):
        parts = [(w[1, x - left], Z[:, 0, left]) for left in (0, 2) if 0 <= x - left < 4]
        expected = sum(a * b for a, b in parts) / sum(a for a, _ in parts)
        np.testing.assert_allclose(found[:, 1, x], expected, rtol=1e-5)


def test_weights_are_the_originals():
    """The distance to the nearest of the four borders, from 0.01 to 0.5."""
    found = weights(5, 9)
    assert found.shape == (5, 9)
    np.testing.assert_allclose(
        found[2], np.minimum([0.01, *np.arange(1, 5) / 8, 0.375, 0.25, 0.125, 0.01], 0.5)
    )
    np.testing.assert_allclose(found[:, 4], [0.01, 0.25, 0.5, 0.25, 0.01])
    np.testing.assert_array_equal(found[0], np.float32(0.01))
