"""Free-form masks."""

import numpy as np
import pytest

from ldm_jax.data import masks


@pytest.mark.parametrize("size", [16, 64, 256])
def test_something_is_masked_and_something_is_left(size):
    for seed in range(50):
        mask = masks.free_form(size, np.random.default_rng(seed))
        assert mask.shape == (size, size)
        assert mask.dtype == bool
        assert 0 < mask.mean() < 1


def test_a_mask_depends_on_its_random_numbers_alone():
    one, same, other = (masks.free_form(64, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)


def test_as_much_is_masked_at_every_size():
    hidden = {
        size: np.mean([masks.free_form(size, np.random.default_rng(s)).mean() for s in range(200)])
        for size in (32, 256)
    }
    assert abs(hidden[32] - hidden[256]) < 0.05
    assert 0.15 < hidden[256] < 0.5


def test_boxes_keep_off_the_border_and_strokes_reach_it():
    rng = np.random.default_rng(0)
    edge = np.ones((256, 256), bool)
    edge[masks.MARGIN : -masks.MARGIN, masks.MARGIN : -masks.MARGIN] = False
    assert not any(masks.boxes(256, rng)[edge].any() for _ in range(50))
    assert any(masks.strokes(256, rng)[edge].any() for _ in range(50))
