"""Images as files."""

import numpy as np
import pytest
from PIL import Image

from ldm_jax.data import image_files


def numbered(count, side=4):
    """Images whose every pixel is 10 times their number."""
    return np.stack([np.full((side, side, 3), 10 * i, np.uint8) for i in range(count)])


def test_floats_become_the_nearest_bytes_and_are_clipped():
    values = np.array([-1.0, 1.0, 0.0, -7.0, 7.0, 0.5]).reshape(1, 2, 3)
    assert image_files.to_uint8(values).ravel().tolist() == [0, 255, 128, 0, 255, 191]
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(image_files.to_uint8(every / 127.5 - 1.0), every)


@pytest.mark.parametrize(
    ("count", "columns", "form"), [(1, None, (1, 1)), (5, None, (2, 3)), (5, 2, (3, 2))]
)
def test_a_grid_is_filled_row_by_row_on_white(count, columns, form):
    side, gap = 4, 1
    found = image_files.grid(numbered(count), columns)
    rows, columns = form
    assert found.shape == (rows * (side + gap) + gap, columns * (side + gap) + gap, 3)
    covered = np.zeros(found.shape, bool)
    for i in range(count):
        y, x = (gap + n * (side + gap) for n in divmod(i, columns))
        place = np.s_[y : y + side, x : x + side]
        assert np.all(found[place] == 10 * i)
        covered[place] = True
    assert np.all(found[~covered] == 255)


def test_the_frame_grows_with_the_images():
    assert image_files.grid(numbered(1, side=64)).shape == (68, 68, 3)


def test_a_pair_is_side_by_side():
    found = image_files.pairs(numbered(2), 255 - numbered(2))
    assert found.shape == (6, 2 * 9 + 1, 3)
    assert found[1, [1, 5, 10, 14], 0].tolist() == [0, 255, 10, 245]


def test_a_saved_image_is_read_back_bit_for_bit(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    path = tmp_path / "new" / "folder" / "picture.png"
    image_files.save(path, image)
    with Image.open(path) as read:
        assert read.format == "PNG"
        np.testing.assert_array_equal(read, image)


def test_captioned_images_show_image_and_caption():
    found = image_files.captioned(numbered(2, side=64), ["a red circle", ""], columns=2)
    first, second = found[:, : found.shape[1] // 2], found[:, found.shape[1] // 2 :]
    assert np.sum(first == 0) > np.sum(second == 0)
    assert np.sum(np.all(second == 10, axis=-1)) == 128 * 128  # enlarged twice


def test_captions_and_images_must_be_as_many():
    with pytest.raises(ValueError, match="shorter"):
        image_files.captioned(numbered(2), ["one"])
