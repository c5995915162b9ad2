"""Bounding boxes with classes, transformed along with crops and flips of the image.

Boxes are float32 [n, 5]: x and y of the upper left corner, width and height, in [0, 1] of the
image, and the class.
"""

import numpy as np


def crop(boxes: np.ndarray, window: tuple[float, float, float, float]) -> np.ndarray:
    """Boxes within a window (top, left, height, width), each in [0, 1], as fractions of the window.

    Boxes are clipped to the window; empty ones are dropped.
    """
    top, left, height, width = window
    start = (boxes[:, :2] - (left, top)) / (width, height)
    end = start + boxes[:, 2:4] / (width, height)
    start, end = (np.clip(corner, 0, 1) for corner in (start, end))
    moved = np.concatenate([start, end - start, boxes[:, 4:]], axis=1).astype(np.float32)
    return moved[np.all(end > start, axis=1)]


def flip(boxes: np.ndarray) -> np.ndarray:
    """Boxes of the image mirrored left to right."""
    flipped = boxes.copy()
    flipped[:, 0] = 1 - boxes[:, 0] - boxes[:, 2]
    return flipped


def padded(boxes: np.ndarray, count: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """[n, 5] -> [count, 5]: the boxes in any order, then rows of -1; further boxes are dropped.

    Args:
        rng: draws the order, so that it carries no information; None: the order is kept.
    """
    if rng is not None:
        boxes = boxes[rng.permutation(len(boxes))]
    rows = np.full((count, 5), -1, np.float32)
    rows[: len(boxes)] = boxes[:count]
    return rows
