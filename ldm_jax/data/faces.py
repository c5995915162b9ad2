"""The face in an image: an embedding of who it is, and where its eyes, nose and mouth are."""

from pathlib import Path
from typing import Any

import numpy as np

FORMS = {  # fields of a metadata.jsonl
    "face": '"face": "FILE.npy", an embedding of the face',
    "points": '"points": [[x, y], ...] of the eyes, the nose and the corners of the mouth, left '
    "ones first, in parts of the image",
}
ABSENT = "{} has no {}: use a folder with metadata.jsonl and in it {}"
MIRRORED = [1, 0, 2, 4, 3]  # points of the image mirrored left to right, whose left ones were right
BEYOND = 2.0  # parts of an image by which a point may lie outside of it


def absent(name: str) -> dict[str, str]:
    """Why a source of this name has no faces, and a remedy, by field."""
    return {field: ABSENT.format(name, field, form) for field, form in FORMS.items()}


def decode(path: str | Path) -> np.ndarray:
    """An embedding, float32 [D].

    Raises:
        ValueError: another array.
    """
    found = np.load(path, allow_pickle=False)
    if found.ndim != 1 or found.dtype.kind != "f" or not np.all(np.isfinite(found)):
        raise ValueError(f"is {found.dtype} {found.shape}: expected one row of finite floats")
    return found.astype(np.float32)


def are_points(value: Any) -> bool:
    """Whether this is [[x, y], ...] of five points, in parts of an image."""
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return False
    return found.shape == (5, 2) and bool(np.all(abs(found - 0.5) <= BEYOND))


def crop(points: np.ndarray, window: tuple[float, float, float, float]) -> np.ndarray:
    """Points [5, 2] as parts of a window (top, left, height, width) of the image."""
    top, left, height, width = window
    return np.float32((points - (left, top)) / (width, height))


def flip(points: np.ndarray) -> np.ndarray:
    """Points of the image mirrored left to right, in which left and right have changed places."""
    return np.float32(points[MIRRORED] * (-1, 1) + (1, 0))
