"""Images of key points: limbs between them and discs over these, as published ControlNets for poses
and faces read them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Color = tuple[int, int, int]
Limb = tuple[int, int, Color]  # from a point to another
DIMMED = 0.6  # the limbs' colors
FORM = (
    '"key_points": [[[x, y], ...], ...], 18 a person in the order of OpenPose, in parts of the '
    "image, null where one is not seen"
)
POINTS = 18  # of a person: nose, neck; right shoulder, elbow, wrist; left; right hip, knee, ankle;
# left; right eye, left, right ear, left (Cao et al. 2017)
HUES = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
ENDS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12),
    (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
BODY = tuple((a, b, color) for (a, b), color in zip(ENDS, HUES, strict=False))


def are_people(value: Any) -> bool:
    """Whether this is key points of people, see `FORM`."""
    try:
        people = [[point or (0, 0) for point in person] for person in value]
        numbers = np.asarray(people, np.float64).reshape(-1, POINTS, 2)
    except (TypeError, ValueError):
        return False
    return len(numbers) == len(people) and bool(np.all(np.isfinite(numbers)))


def pose(people: Sequence[Sequence[Any]], size: tuple[int, int]) -> np.ndarray:
    """The image of people's key points, float32 [H, W, 3], 0 to 1."""
    image = np.zeros((*size, 3), np.float32)
    for person in people:
        points = np.array([point or (np.nan, np.nan) for point in person], np.float32)
        draw(image, points * size[::-1] - 0.5, BODY, HUES, radius=4.0, half_width=4.0)
    return image / 255.0


def draw(
    image: np.ndarray,
    points: np.ndarray,
    limbs: Sequence[Limb],
    colors: Sequence[Color],
    radius: float,
    half_width: float,
) -> None:
    """Draws into an image [H, W, 3] of 0 to 255: an ellipse a limb, in its colour dimmed, and discs
    over them.

    Args:
        points: [n, 2], x and y in pixels; NaN: not seen, with its limbs.
        radius: of the discs, in pixels.
        half_width: of the ellipses.
    """
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    points = np.asarray(points, np.float32)
    for a, b, color in limbs:
        along = points[b] - points[a]
        (cx, cy), length = points[a] + along / 2, np.maximum(np.hypot(*along), 1e-6)
        c, s = along / length
        u, v = (x - cx) * c + (y - cy) * s, (y - cy) * c - (x - cx) * s
        inside = (2 * u / length) ** 2 + (v / half_width) ** 2 <= 1
        image[inside] = np.floor(DIMMED * np.asarray(color, np.float32))
    for (px, py), color in zip(points, colors, strict=True):
        image[(x - px) ** 2 + (y - py) ** 2 <= radius**2] = color
