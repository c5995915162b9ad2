"""PSNR, SSIM and streaming means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.metrics.reconstruction import SMALLEST, psnr, ssim

SSIM = jax.jit(ssim)


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(0), (4, 16, 13, 3), minval=-0.7, maxval=0.7)


def test_psnr_of_a_known_error(images):
    """An error of e everywhere is 20 log10(2 / e) dB."""
    errors = jnp.array([0.2, 0.02, -0.002, 0.0])[:, None, None, None]
    found = psnr(images, images + errors)
    np.testing.assert_allclose(found[:3], [20.0, 40.0, 60.0], atol=1e-2)
    assert found[3] == jnp.inf


def test_what_is_outside_of_the_range_counts_as_its_edge(images):
    far = jnp.sign(images) * 5.0
    np.testing.assert_array_equal(psnr(images, far), psnr(images, jnp.sign(images)))
    np.testing.assert_array_equal(SSIM(images, far), SSIM(images, jnp.sign(images)))


def test_an_image_is_like_itself_and_like_nothing_more(images):
    np.testing.assert_allclose(SSIM(images, images), 1.0, atol=1e-6)
    other = images + 0.1 * jax.random.normal(jax.random.key(1), images.shape)
    assert np.all(SSIM(images, other) < 0.99)
    assert np.all(SSIM(images, -images) < 0.0)


def test_both_are_symmetric(images):
    for metric in (psnr, SSIM):
        np.testing.assert_allclose(metric(images, images**3), metric(images**3, images), rtol=1e-5)


def test_ssim_of_flat_images_is_its_luminance_term():
    """Wang et al. 2004, eq. 6, with C1 = 0.01^2, of values in [0, 1]."""
    a, b = 0.3, 0.5
    flat = jnp.ones((1, 12, 12, 3))
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    found = SSIM((2 * a - 1) * flat, (2 * b - 1) * flat)
    np.testing.assert_allclose(found, [expected], atol=1e-5)


def test_numbers_are_each_image_s_own(images):
    other = images[::-1]
    for metric in (psnr, SSIM):
        together = metric(images, other)
        np.testing.assert_allclose(metric(images[1:2], other[1:2]), together[1:2], rtol=1e-5)


def test_sets_of_other_shapes_are_not_broadcast(images):
    for metric in (psnr, ssim):
        for other in (images[:1], images[..., :1], images[:, :-1]):
            with pytest.raises(ValueError, match="expected equal"):
                metric(images, other)


def test_images_smaller_than_the_window_have_no_ssim(images):
    with pytest.raises(ValueError, match="11 or more"):
        ssim(images[:, : SMALLEST - 1], images[:, : SMALLEST - 1])
