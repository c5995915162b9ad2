"""Images in files that a request names."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ldm_jax.data import transforms
from ldm_jax.errors import InputError, reading, reason
from ldm_jax.settings import at_home


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


def load_rows(path: str, flag: str, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Rows of numbers in a .npy or .json, float32 [n, *shape]; an array of `shape` is one row.

    Raises:
        InputError: no such file, or it holds numbers of another shape.
    """
    with reading(f"{flag} '{path}'", "numbers as numpy.save writes them, or in JSON"):
        if path.endswith(".json"):
            array = np.asarray(json.loads(at_home(path).read_text("utf-8-sig")), np.float32)
        else:
            array = np.load(at_home(path), allow_pickle=False)
    if array.shape[max(array.ndim - len(shape), 0) :] != shape or array.ndim > len(shape) + 1:
        raise InputError(f"{flag} '{path}' has shape {array.shape}: expected {shape}, {what}")
    if array.dtype.kind != "f" or not array.size or not np.all(np.isfinite(array)):
        raise InputError(f"{flag} '{path}' is {array.dtype} {array.shape}: expected finite floats")
    return np.float32(array).reshape(-1, *shape)
