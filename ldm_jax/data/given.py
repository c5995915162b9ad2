"""Images in files that a request names."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ldm_jax.data import transforms
from ldm_jax.errors import InputError, reason


def decoded(path: str, flag: str, what: str, decode: Callable[[str], Any]) -> Any:
    """What `decode` reads in a file.

    Raises:
        InputError: no such file, or it is not `what`.
    """
    if not Path(path).is_file():
        raise InputError(f"{flag} '{path}' does not exist: expected an image, such as a PNG")
    try:
        return decode(path)
    except Exception as error:
        raise InputError(f"{flag} '{path}' is not {what}: {reason(error)}") from error


def open_image(path: str, flag: str, data: Any) -> Image.Image:
    """An image as training on `data` saw it, of its own size; see `decoded`."""

    def decode(path: str) -> Image.Image:
        image = transforms.decode(path, data.background)
        transforms.resized(image, data.image_size)  # not too long and thin
        return image

    return decoded(path, flag, "an image", decode)


def load_image(path: str, flag: str, data: Any, size: Sequence[int] = ()) -> np.ndarray:
    """The middle of an image, scaled to `size` (H, W) or as training saw it, uint8 [H, W, 3]."""
    image = open_image(path, flag, data)
    if size:
        fitted = ImageOps.fit(image, tuple(size)[::-1], Image.Resampling.LANCZOS)
        return np.asarray(fitted)
    resized = np.asarray(transforms.resize(image, data.image_size))
    return transforms.center_crop(resized, data.image_size)


def load_mask(path: str, flag: str, data: Any, size: Sequence[int] = ()) -> np.ndarray:
    """1 from middle grey on, 0 where it is darker, float32 [H, W, 1]; see `load_image`."""
    mask = np.mean(load_image(path, flag, data, size), axis=-1, keepdims=True)
    return (mask >= 128).astype(np.float32)
