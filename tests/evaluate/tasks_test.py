"""What is measured of enlarged and of filled images."""

import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.evaluate.held_out import Options
from ldm_jax.evaluate.inpainting import error_inside, with_mean_color
from ldm_jax.evaluate.layout import layout, outline
from ldm_jax.evaluate.super_resolution import enlarge

TRUTH = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
HIDDEN = np.zeros((2, 8, 8, 1), bool)
HIDDEN[:, 2:6, 3:] = True


def test_the_error_is_of_what_is_masked_alone():
    images = TRUTH.copy()
    images[:, 0, 0] ^= 255
    assert error_inside(images, TRUTH, HIDDEN) == 0.0
    images[:, 2:6, 3:] = np.where(
        TRUTH[:, 2:6, 3:] >= 128, TRUTH[:, 2:6, 3:] - 3, TRUTH[:, 2:6, 3:] + 3
    )
    assert error_inside(images, TRUTH, HIDDEN) == pytest.approx(3.0)


def test_the_mean_colour_is_of_what_is_visible():
    found = with_mean_color(TRUTH, HIDDEN)
    seen = ~HIDDEN[..., 0]
    np.testing.assert_array_equal(found[seen], TRUTH[seen])
    for image, truth in zip(found, TRUTH, strict=True):
        mean = np.round(truth[seen[0]].mean(0))
        np.testing.assert_array_equal(image[3, 4], mean)
    other = TRUTH.copy()
    other[HIDDEN[..., 0]] = 0
    np.testing.assert_array_equal(with_mean_color(other, HIDDEN), found)


def test_enlarging_keeps_a_plain_image():
    plain = np.full((3, 4, 3), 90, np.uint8)
    np.testing.assert_array_equal(enlarge(plain, 12, 16), np.full((12, 16, 3), 90))


def test_a_box_is_outlined_where_it_is_and_no_box_nowhere():
    white = np.full((8, 8, 3), 255, np.uint8)
    boxes = np.array([[0.25, 0.5, 0.5, 0.25, 1], [-1] * 5])
    found = outline(white, boxes, scale=2)[..., 0] == 0
    expected = np.zeros((16, 16), bool)
    expected[8:13, [4, 12]] = expected[[8, 12], 4:13] = True
    np.testing.assert_array_equal(found, expected)


def test_a_run_without_boxes_of_shapes_is_refused(tmp_path):
    with pytest.raises(InputError, match="trained on boxes of nothing"):
        layout(str(tmp_path), Options())
