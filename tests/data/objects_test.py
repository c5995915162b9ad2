"""Boxes that are moved along with their image."""

import numpy as np

from ldm_jax.data import objects

BOXES = np.array([[0.1, 0.2, 0.3, 0.4, 2], [0.8, 0.8, 0.2, 0.2, 0]], np.float32)
WHOLE = (0.0, 0.0, 1.0, 1.0)


def test_the_whole_image_is_no_crop():
    np.testing.assert_allclose(objects.crop(BOXES, WHOLE), BOXES, atol=1e-7)


def test_a_box_is_as_large_as_before_in_pixels():
    # the lower right quarter: the first box ends at x = 0.4, y = 0.6
    found = objects.crop(BOXES, (0.5, 0.25, 0.5, 0.5))
    np.testing.assert_allclose(found, [[0, 0, 0.3, 0.2, 2]], atol=1e-6)
    np.testing.assert_allclose(
        objects.crop(BOXES, (0.5, 0.5, 0.5, 0.5)), [[0.6, 0.6, 0.4, 0.4, 0]], atol=1e-6
    )


def test_mirroring_twice_changes_nothing():
    flipped = objects.flip(BOXES)
    np.testing.assert_allclose(flipped[0], [0.6, 0.2, 0.3, 0.4, 2], atol=1e-6)
    np.testing.assert_allclose(objects.flip(flipped), BOXES, atol=1e-6)


def test_cropping_and_mirroring_can_be_exchanged():
    one = objects.flip(objects.crop(BOXES, (0.1, 0.2, 0.8, 0.6)))
    other = objects.crop(objects.flip(BOXES), (0.1, 0.2, 0.8, 0.6))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_boxes_come_in_any_order_and_what_is_missing_is_negative():
    rng = np.random.default_rng(0)
    orders = [objects.padded(BOXES, 4, rng)[:, 4].tolist() for _ in range(20)]
    assert {tuple(order) for order in orders} == {(2, 0, -1, -1), (0, 2, -1, -1)}
    assert objects.padded(BOXES, 1).tolist() == BOXES[:1].tolist()
    assert objects.padded(BOXES[:0], 2, rng).tolist() == [[-1] * 5] * 2
