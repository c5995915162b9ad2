"""Small images of large ones."""

import numpy as np
import pytest

from ldm_jax.data import degradation

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
SMOOTH = np.stack([np.tile(np.linspace(20, 235, 64), (64, 1))] * 3, axis=2).astype(np.uint8)


def test_a_plain_image_stays_plain():
    plain = np.full((32, 32, 3), 77, np.uint8)
    np.testing.assert_array_equal(degradation.bicubic(plain, 4), plain[:8, :8])
    for seed in range(20):
        worse = degradation.bsr(plain, 4, np.random.default_rng(seed)).astype(int)
        assert np.max(np.abs(worse - 77)) < 15  # noise and JPEG


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_the_small_image_has_the_size_requested(factor):
    assert degradation.bicubic(IMAGE, factor).shape == (32 // factor, 48 // factor, 3)
    for seed in range(20):
        small = degradation.bsr(IMAGE, factor, np.random.default_rng(seed))
        assert small.shape == (32 // factor, 48 // factor, 3)
        assert small.dtype == np.uint8


def test_a_degraded_image_depends_on_its_random_numbers_alone():
    one, same, other = (degradation.bsr(IMAGE, 4, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)


def test_nothing_is_moved_however_bad_it_gets():
    """A ramp stays where it is: on average a pixel lies at the middle of those that it is of."""
    expected = SMOOTH.astype(float).reshape(16, 4, 16, 4, 3).mean((1, 3))
    found = np.mean(
        [degradation.bsr(SMOOTH, 4, np.random.default_rng(seed)) for seed in range(60)], axis=0
    )
    inside = np.s_[3:-3, 3:-3]
    assert np.max(np.abs(found - expected)[inside]) < 2.5


def test_worse_is_worse_than_bicubic():
    def error(small):
        return np.mean((small.astype(float) - degradation.bicubic(IMAGE, 4)) ** 2)

    errors = [error(degradation.bsr(IMAGE, 4, np.random.default_rng(seed))) for seed in range(20)]
    assert min(errors) > 10.0
