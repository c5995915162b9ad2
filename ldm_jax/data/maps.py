"""Maps that belong to images, such as depth: a kind is a line in `MAPS`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ldm_jax.data.transforms import Encoded, decode, open_image, turn


class Map(NamedTuple):
    """One kind of map.

    form:   its field in a metadata.jsonl
    decode: a path or encoded bytes -> [H, W], or [H, W, 3] of colours; raises ValueError where it
            is no such map
    resize: (such an array, height, width) -> the same of this size
    """

    form: str
    decode: Callable[[Any], np.ndarray]
    resize: Callable[[np.ndarray, int, int], np.ndarray]


def decode_classes(encoded: Encoded) -> np.ndarray:
    """An image whose values are classes: uint8 [H, W], upright.

    Raises:
        ValueError: an image of colours.
    """
    with open_image(encoded) as image:
        turn(image)
        if image.mode not in ("L", "P", "1") and not image.mode.startswith("I"):
            raise ValueError(f"has colours (mode {image.mode}) where classes are expected")
        values = np.asarray(image)
    if values.max(initial=0) > 255:
        raise ValueError(f"has class {values.max()}: expected at most 255")
    return values.astype(np.uint8)


def resize_classes(classes: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H, W] -> [height, width], by nearest neighbour."""
    if classes.shape == (height, width):
        return classes
    return np.asarray(Image.fromarray(classes).resize((width, height), Image.Resampling.NEAREST))


def decode_depth(path: str | Path) -> np.ndarray:
    """A map that is greater where things are nearer, float32 [H, W]: from a `.npy`, an image of
    one channel of 8 or 16 bits, or the brightness of an image of colours.

    Raises:
        ValueError: not a map of finite numbers.
    """
    if str(path).endswith(".npy"):
        read = np.load(path, allow_pickle=False)
    else:
        with open_image(path) as image:
            alone = image.mode.startswith(("I", "F", "L"))
            read = np.asarray(image if alone else image.convert("L"))
        read = read if read.ndim == 2 else read[..., 0]
    read = np.asarray(read, np.float32)
    if read.ndim != 2 or not np.all(np.isfinite(read)):
        raise ValueError(f"has shape {read.shape}: expected [H, W], finite numbers")
    return read


def resize_depth(depth: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H, W] -> [height, width], linear between pixels, antialiased."""
    if depth.shape == (height, width):
        return depth
    resized = Image.fromarray(depth).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def decode_colours(encoded: Encoded) -> np.ndarray:
    """An image of colours, uint8 [H, W, 3], upright; behind what is transparent is white."""
    return np.asarray(decode(encoded, (255, 255, 255)))


def resize_colours(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H, W, 3] -> [height, width, 3]: the mean of an area, or Lanczos' filter where it grows."""
    if image.shape[:2] == (height, width):
        return image
    way = Image.Resampling.BOX if height < len(image) else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(image).resize((width, height), way))


MAPS = {
    "segmentation": Map(
        '"segmentation": "FILE.png", an image of class numbers', decode_classes, resize_classes
    ),
    "depth": Map(
        '"depth": "FILE.png" (or .npy), greater where things are nearer',
        decode_depth,
        resize_depth,
    ),
    "conditioning_image": Map(
        '"conditioning_image": "FILE.png", an image that a ControlNet follows',
        decode_colours,
        resize_colours,
    ),
}
