"""Features come in the order of the images, however many batches are looked at together."""

import numpy as np
import pytest

from ldm_jax.extractors.extract import make_extract
from ldm_jax.extractors.extractor import Extractor

BATCH = 4
BRIGHTNESS = Extractor(
    name="brightness",
    title="mean brightness",
    distance="distance",
    main="mean",
    init=lambda key: {},
    prepare=lambda images: images,
    scale=lambda x: x / 255.0,
    network=lambda params, x: {"mean": x.mean(axis=(1, 2)), "unused": x},
    resize="none",
    size=2,
)


@pytest.fixture(scope="module")
def extract():
    return make_extract(BRIGHTNESS, {}, ("mean",), BATCH)


def photos(count: int) -> np.ndarray:
    """uint8 [count, 2, 2, 3], the i-th of brightness i."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 2, 2, 3))


@pytest.mark.parametrize("count", [1, BATCH, 5 * BATCH, 5 * BATCH + 3])
def test_features_are_in_the_order_of_the_images(extract, count):
    images = photos(count)
    found = list(extract(images[i : i + BATCH] for i in range(0, count, BATCH)))
    means = np.concatenate([features["mean"] for features in found])
    np.testing.assert_allclose(means, images.mean(axis=(1, 2)) / 255, rtol=1e-6)
    assert all(set(features) == {"mean"} for features in found)


def test_an_error_in_reading_images_is_the_callers(extract):
    def batches():
        yield photos(BATCH)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(extract(batches()))


def test_no_images_no_features(extract):
    assert list(extract(iter(()))) == []
