"""Ways of resizing images to a network's input; metrics depend on which is used.

Images are [B, H, W, 3] with values 0 ... 255. FID differs by whole units between the first three
(Parmar et al. 2022): reports name the one that was used.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from PIL import Image

from ldm_jax.types import Array


def tensorflow_bilinear(images: Array, size: int) -> Array:
    """TensorFlow 1's bilinear filter, [B, H, W, 3] -> [B, size, size, 3] float32.

    Pixel i of the result is at i H / size, so that the image is shifted; nothing is smoothed. Used
    by the original FID, guided diffusion (ADM) and torch-fidelity.
    """
    return _linear(images, lambda scale: np.arange(size, dtype=np.float32) * scale, size)


def half_pixel_bilinear(images: Array, size: int) -> Array:
    """PyTorch's bilinear filter, [B, H, W, 3] -> [B, size, size, 3] float32: pytorch-fid's.

    Pixel i of the result is at (i + 1/2) H / size - 1/2; nothing is smoothed.
    """
    half = np.float32(0.5)

    def places(scale: np.float32) -> np.ndarray:
        return np.maximum((np.arange(size, dtype=np.float32) + half) * scale - half, 0)

    return _linear(images, places, size)


def _linear(x: Array, places: Callable[[np.float32], np.ndarray], size: int) -> Array:
    """Values of x [B, H, W, 3] between its pixels, [B, size, size, 3].

    places: pixels of x per pixel of the result -> the positions [size] along an axis.
    """
    x = jnp.asarray(x, jnp.float32)
    for axis in (1, 2):
        at = places(np.float32(x.shape[axis] / size))
        low = np.floor(at).astype(np.int32)
        high = np.minimum(low + 1, x.shape[axis] - 1)
        a, b = (jnp.take(x, index, axis=axis) for index in (low, high))
        x = a + (b - a) * np.expand_dims(at - low, [n for n in range(4) if n != axis])
    return x


def pillow_bicubic(images: np.ndarray, size: int) -> np.ndarray:
    """Pillow's antialiased bicubic filter, uint8 [B, H, W, 3] -> uint8 [B, size, size, 3].

    Rounds to whole values, as where images are resized as files: the preprocessing of CLIP, DINOv2
    and torchvision's classifiers.
    """
    return np.stack([_bicubic(image, size) for image in images])


def clean_bicubic(images: np.ndarray, size: int) -> np.ndarray:
    """Pillow's antialiased bicubic filter without rounding, float32: clean-fid's."""
    channels = np.moveaxis(images.astype(np.float32), -1, 1)  # Pillow has no colours of floats
    resized = np.stack([[_bicubic(x, size) for x in image] for image in channels])
    return np.moveaxis(resized.clip(0, 255), 1, -1)


def _bicubic(image: np.ndarray, size: int) -> np.ndarray:
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(resized)
