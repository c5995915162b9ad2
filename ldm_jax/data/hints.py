"""Hints: images that say where things are, made of an image or of a map that belongs to it."""

import colorsys
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from ldm_jax.errors import InputError

THRESHOLDS = 100, 200  # of Canny's edges, where a ControlNet's demonstrations begin


class Hint(NamedTuple):
    """One kind of hint.

    field: that an example must have beside its image, see `maps.MAPS`; None: none
    make:  example as a reader gives it -> float32 [H, W, 3], 0 to 1
    """

    field: str | None
    make: Callable[[Mapping[str, Any]], np.ndarray]


def edges(image: np.ndarray) -> np.ndarray:
    """Edges of an image uint8 [H, W, 3], white on black, float32 [H, W, 3] (Canny 1986).

    Raises:
        InputError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            f"edges are found by OpenCV, which cannot be imported ({error}): "
            "pip install opencv-python-headless"
        ) from error
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return _of_one_channel(cv2.Canny(grey, *THRESHOLDS) / 255.0)


def nearness(depth: np.ndarray) -> np.ndarray:
    """A map [H, W] from the farthest, 0, to the nearest, 1; a flat one is 0."""
    least, greatest = np.min(depth), np.max(depth)
    return _of_one_channel((depth - least) / max(greatest - least, 1e-12))


def colours(classes: np.ndarray) -> np.ndarray:
    """Classes [H, W] as colours: class i has the hue i times the golden ratio, class 0 is black."""
    hues = [(i * 0.618034) % 1.0 for i in range(int(classes.max()) + 1)]
    palette = np.array([colorsys.hsv_to_rgb(h, 1.0, 1.0) for h in hues], np.float32)
    palette[0] = 0.0
    return palette[classes]


def _of_one_channel(x: np.ndarray) -> np.ndarray:
    """[H, W] -> [H, W, 3]."""
    return np.repeat(x[..., None], 3, axis=-1).astype(np.float32)


HintName = Literal["canny", "depth", "segmentation", "conditioning_image"]
HINTS: Mapping[HintName, Hint] = {
    "canny": Hint(None, lambda example: edges(example["image"])),
    "depth": Hint("depth", lambda example: nearness(example["depth"])),
    "segmentation": Hint("segmentation", lambda example: colours(example["segmentation"])),
    "conditioning_image": Hint(
        "conditioning_image", lambda example: np.float32(example["conditioning_image"]) / 255.0
    ),
}
