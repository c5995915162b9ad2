"""Ways of resizing images to a network's input; metrics depend on which is used.

Images are [B, H, W, 3] with values 0 ... 255. FID differs by whole units between the first three
(Parmar et al. 2022): reports name the one that was used.
"""

import jax.numpy as jnp
import numpy as np
from PIL import Image

from ldm_jax.types import Array


def tensorflow_bilinear(images: Array, size: int) -> Array:
    """TensorFlow 1's bilinear filter, [B, H, W, 3] -> [B, size, size, 3] float32.

    Pixel i of the result is at i H / size, so that the image is shifted; nothing is smoothed. Used
    by the original FID, guided diffusion (ADM) and torch-fidelity.
    """
    for axis in (1, 2):
        n = images.shape[axis]
        images = _linear(images, axis, np.arange(size, dtype=np.float32) * np.float32(n / size))
    return images


def half_pixel_bilinear(images: Array, size: int) -> Array:
    """PyTorch's bilinear filter, [B, H, W, 3] -> [B, size, size, 3] float32: pytorch-fid's.

    Pixel i of the result is at (i + 1/2) H / size - 1/2; nothing is smoothed.
    """
    for axis in (1, 2):
        scale = np.float32(images.shape[axis] / size)
        places = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
        images = _linear(images, axis, np.maximum(places, 0))
    return images


def _linear(x: Array, axis: int, places: np.ndarray) -> Array:
    """Values of x between its pixels, along one axis."""
    low = np.floor(places).astype(np.int32)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    shape = [1] * x.ndim
    shape[axis] = len(places)
    x = jnp.asarray(x, jnp.float32)
    a, b = (jnp.take(x, index, axis=axis) for index in (low, high))
    return a + (b - a) * (places - low).reshape(shape)


def pillow_bicubic(images: np.ndarray, size: int) -> np.ndarray:
    """Pillow's antialiased bicubic filter, uint8 [B, H, W, 3] -> uint8 [B, size, size, 3].

    Rounds to whole values, as where images are resized as files: the preprocessing of CLIP, DINOv2
    and torchvision's classifiers.
    """
    resized = [
        Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in images
    ]
    return np.stack([np.asarray(image) for image in resized])


def clean_bicubic(images: np.ndarray, size: int) -> np.ndarray:
    """Pillow's antialiased bicubic filter without rounding, float32: clean-fid's."""

    def channel(x: np.ndarray) -> np.ndarray:
        resized = Image.fromarray(x.astype(np.float32)).resize(
            (size, size), Image.Resampling.BICUBIC
        )
        return np.asarray(resized).clip(0, 255)

    return np.stack(
        [np.stack([channel(image[..., c]) for c in range(3)], axis=-1) for image in images]
    )
