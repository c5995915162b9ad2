"""Filters agree where they must, and differ as they are known to."""

import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.extractors.names import extractor
from ldm_jax.extractors.resize import (
    clean_bicubic,
    half_pixel_bilinear,
    pillow_bicubic,
    tensorflow_bilinear,
)

FILTERS = (tensorflow_bilinear, half_pixel_bilinear, clean_bicubic, pillow_bicubic)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), np.uint8)
ramp = np.tile(np.arange(0, 80, 10, dtype=np.uint8)[:, None, None], (1, 8, 3))[None]


@pytest.mark.parametrize("resize", FILTERS)
def test_a_plain_image_stays_plain_and_a_fitting_one_as_it_is(resize):
    plain = np.full((1, 6, 7, 3), 90, np.uint8)
    np.testing.assert_allclose(resize(plain, 13), np.full((1, 13, 13, 3), 90.0), rtol=1e-6)
    np.testing.assert_allclose(resize(IMAGES, 9), IMAGES, atol=1e-4)


def test_tensorflow_starts_at_the_corner_and_others_are_centred():
    """Twice as many pixels of a ramp, away from its ends."""
    np.testing.assert_allclose(tensorflow_bilinear(ramp, 16)[0, 2:6, 0, 0], [10, 15, 20, 25])
    for resize in (half_pixel_bilinear, clean_bicubic):
        found = np.asarray(resize(ramp, 16))[0, 6:10, 0, 0]
        np.testing.assert_allclose(found, [27.5, 32.5, 37.5, 42.5], atol=0.5)


def test_only_antialiased_filters_see_every_pixel():
    """Stripes of one pixel: their mean, or whatever lines are met."""
    stripes = np.zeros((1, 32, 32, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.ptp(np.asarray(tensorflow_bilinear(stripes, 8))) == 0
    assert np.asarray(tensorflow_bilinear(stripes, 8)).mean() == 200
    np.testing.assert_allclose(clean_bicubic(stripes, 8)[:, 2:-2], 100, atol=1)
    np.testing.assert_allclose(pillow_bicubic(stripes, 8)[:, 2:-2], 100, atol=1)


def test_names_that_there_are_not():
    with pytest.raises(InputError, match="extractor is 'vgg': expected one of inception, mobile"):
        extractor("vgg")
    with pytest.raises(InputError, match="resize is 'lanczos': expected one of tensorflow"):
        extractor("inception", "lanczos")
    with pytest.raises(InputError, match="resize is 'clean', which is only of inception"):
        extractor("mobilenet", "clean")
