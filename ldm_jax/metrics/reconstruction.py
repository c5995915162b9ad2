"""Reconstruction metrics of images: PSNR and SSIM, one value an image.

Images are [B, H, W, C] in [-1, 1]; values outside are clipped, as they are when an image is
written.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.types import Array

RADIUS, SIGMA = 5, 1.5  # of SSIM's window, 11 pixels a side
K1, K2 = 0.01, 0.03
SMALLEST = 2 * RADIUS + 1  # least side in pixels for SSIM

_bell = np.exp(-0.5 * np.square(np.arange(-RADIUS, RADIUS + 1) / SIGMA))
WINDOW = tuple(float(w) for w in _bell / _bell.sum())  # along one axis


def psnr(image: Array, reconstruction: Array) -> Array:
    """Peak signal-to-noise ratio in dB, [B, H, W, C] twice -> [B]; infinite where both are equal.

    10 log10(2^2 / MSE): the peak is the range of the images, 2.
    """
    _check_shapes(image, reconstruction)
    difference = jnp.clip(image, -1.0, 1.0) - jnp.clip(reconstruction, -1.0, 1.0)
    return -10.0 * jnp.log10(jnp.mean(jnp.square(difference / 2.0), axis=(1, 2, 3)))


def ssim(image: Array, reconstruction: Array) -> Array:
    """Structural similarity (Wang et al. 2004, eq. 13 and 17), [B, H, W, C] twice -> [B].

    The mean over the channels and over all positions where the Gaussian window lies inside the
    image. Values are scaled to 0 ... 1, to which the constants C1 and C2 refer.

    Raises:
        ValueError: images of fewer than 11 pixels a side, or two sets of other shapes.
    """
    _check_shapes(image, reconstruction)
    if min(image.shape[1:3]) < SMALLEST:
        raise ValueError(f"images of {image.shape[1:3]} pixels: expected {SMALLEST} or more a side")
    # between -1/2 and 1/2, where the squares below lose the fewest digits
    x, y = (0.5 * jnp.clip(a, -1.0, 1.0) for a in (image, reconstruction))
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x = _windowed(jnp.square(x)) - jnp.square(mean_x)
    var_y = _windowed(jnp.square(y)) - jnp.square(mean_y)
    cov = _windowed(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    luminance = (2.0 * mean_x * mean_y + K1**2) / (jnp.square(mean_x) + jnp.square(mean_y) + K1**2)
    structure = (2.0 * cov + K2**2) / (var_x + var_y + K2**2)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))


def _check_shapes(image: Array, reconstruction: Array) -> None:
    if image.shape != reconstruction.shape:
        raise ValueError(f"images are {image.shape}, and {reconstruction.shape}: expected equal")


def _windowed(x: Array) -> Array:
    """Weighted means: [B, H, W, C] -> [B, H - 10, W - 10, C]."""
    for axis in (1, 2):
        size = x.shape[axis] - 2 * RADIUS
        x = sum(w * jax.lax.slice_in_dim(x, i, i + size, axis=axis) for i, w in enumerate(WINDOW))
    return x
