"""Drawn scenes of one to nine colored shapes, with captions.

A scene lies on the unit square; each object is in its own cell of a 3 x 3 grid, small enough never
to touch its neighbors, so that every caption has exactly one reading. About one in ten combinations
of shape, color and position is held out: training scenes contain none of them and test scenes
contain nothing else, which distinguishes composition from memorisation.
"""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from ldm_jax.errors import InputError

COLORS = {  # far apart from each other and from the background, also when blurred
    "red": (220, 25, 35),
    "green": (25, 155, 55),
    "blue": (35, 70, 225),
    "yellow": (250, 205, 15),
    "purple": (125, 35, 175),
    "pink": (255, 125, 190),
    "cyan": (25, 190, 215),
    "black": (20, 20, 20),
}
BACKGROUND = (240, 240, 240)
SIZES = {"small": 0.095, "large": 0.145}  # half the width of an object, the image being 1 wide
ROWS = COLUMNS = (0.175, 0.5, 0.825)  # centers of the cells
POSITIONS = {  # -> (y, x)
    " ".join(filter(None, (row, column))) or "center": (y, x)
    for row, y in zip(("top", "", "bottom"), ROWS, strict=True)
    for column, x in zip(("left", "", "right"), COLUMNS, strict=True)
}
JITTER = 0.01  # largest displacement in y and in x


def _circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x**2 + y**2 <= 1


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(abs(x), abs(y)) <= 0.9


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (y <= 0.9) & (abs(x) <= (y + 0.9) / 1.8)  # apex (0, -0.9), base from x = -1 to x = 1


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Five points at radius R, five notches at 0.45 R, shifted so that the box is centered."""
    x, y = x / 1.05, y / 1.05 - 0.0955  # R = 1.05;  (1 - cos 36 deg) / 2 = 0.0955
    # Folding the angle by symmetry leaves one edge, from the point (1, 0) to the notch (p, q).
    angle = abs((np.arctan2(x, -y) + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    radius = np.hypot(x, y)
    p, q = 0.45 * np.cos(np.pi / 5), 0.45 * np.sin(np.pi / 5)
    return radius * ((1 - p) * np.sin(angle) + q * np.cos(angle)) <= q


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = abs(x), abs(y)
    return (np.minimum(x, y) <= 0.36) & (np.maximum(x, y) <= 1)


@dataclass(frozen=True)
class Outline:
    """A shape of half width 1 about the origin; x points right and y down, as in an image."""

    inside: Callable[[np.ndarray, np.ndarray], np.ndarray]  # (x, y) -> bool
    half_height: float  # of its bounding box
    half_width: float


SHAPES = {
    "circle": Outline(_circle, 1.0, 1.0),
    "square": Outline(_square, 0.9, 0.9),
    "triangle": Outline(_triangle, 0.9, 1.0),
    "star": Outline(_star, 0.95, 1.0),
    "cross": Outline(_cross, 1.0, 1.0),
}


@dataclass(frozen=True)
class Object:
    """One drawn object; every field is a key of the table of the same name in this file."""

    shape: str
    color: str
    size: str
    position: str


@dataclass(frozen=True)
class Scene:
    """Objects in the order of the caption, each at another position."""

    objects: tuple[Object, ...]


# Which scenes there are


@cache
def _is_held_out(shape: str, color: str, position: str) -> bool:
    digest = hashlib.sha256(f"shapes/{shape}/{color}/{position}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 10 == 0


def held_out(thing: Object) -> bool:
    """Whether training never has this combination of shape, color and position (of any size)."""
    return _is_held_out(thing.shape, thing.color, thing.position)


@cache
def _choices(held_out: bool) -> dict[str, list[tuple[str, str]]]:
    """For each position that has any: the (shape, color) that may be there."""
    pairs = list(itertools.product(SHAPES, COLORS))
    allowed = {p: [sc for sc in pairs if _is_held_out(*sc, p) == held_out] for p in POSITIONS}
    return {position: pairs for position, pairs in allowed.items() if pairs}


def random_scene(
    rng: np.random.Generator, min_objects: int = 1, max_objects: int = 3, held_out: bool = False
) -> Scene:
    """A scene of only held-out combinations, or of none.

    Raises:
        InputError: unless 1 <= min_objects <= max_objects <= 9.
    """
    check_counts(min_objects, max_objects)
    choices = _choices(held_out)
    positions = list(choices)
    count = rng.integers(min_objects, max_objects + 1)
    sizes = list(SIZES)
    objects = []
    for index in rng.permutation(len(positions))[:count]:
        pairs = choices[positions[index]]
        shape, color = pairs[rng.integers(len(pairs))]
        objects.append(Object(shape, color, sizes[rng.integers(len(sizes))], positions[index]))
    return Scene(tuple(objects))


def check_counts(min_objects: int, max_objects: int) -> None:
    """Refuses numbers of objects that no scene can have."""
    if not 1 <= min_objects <= max_objects <= len(POSITIONS):
        raise InputError(
            f"shapes.min_objects is {min_objects} and shapes.max_objects is {max_objects}; "
            f"expected 1 <= min_objects <= max_objects <= {len(POSITIONS)}"
        )


def label(scene: Scene) -> int:
    """The class of a scene: the index, in SHAPES, of the first shape in its caption."""
    return list(SHAPES).index(scene.objects[0].shape)


# Captions


def caption(scene: Scene) -> str:
    """For example "a large red circle at the top left, a small blue star at the top and ..."."""
    phrases = [f"a {o.size} {o.color} {o.shape} at the {o.position}" for o in scene.objects]
    *head, last = phrases
    return f"{', '.join(head)} and {last}" if head else last


def parse(text: str) -> Scene:
    """The scene whose caption this is (capitals and a final period do not matter).

    Raises:
        InputError: naming the unexpected word and what was expected.
    """
    phrases = text.strip().removesuffix(".").lower().replace(" and ", ", ").split(",")
    objects = tuple(_parse_object(phrase.split(), text) for phrase in phrases)
    positions = [thing.position for thing in objects]
    if twice := next((place for place in positions if positions.count(place) > 1), None):
        raise InputError(f"caption {text!r}: two objects at the {twice}; expected one a position")
    return Scene(objects)


def _parse_object(words: list[str], text: str) -> Object:
    expected = (["a"], SIZES, COLORS, SHAPES, ["at"], ["the"], POSITIONS)
    words = [*words[:6], *[""] * (6 - len(words)), " ".join(words[6:])]
    for word, options in zip(words, expected, strict=True):
        if word not in options:
            *head, last = options
            wanted = f"{', '.join(head)} or {last}" if head else last
            raise InputError(f"caption {text!r}: found {word!r} where {wanted} is expected")
    return Object(size=words[1], color=words[2], shape=words[3], position=words[6])


# Images


def random_offsets(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """The offset of each object from the center of its cell: [n, 2] (y, x), uniform."""
    return rng.uniform(-JITTER, JITTER, (len(scene.objects), 2))


def coverage(
    shape: str, radius: float, center: tuple[float, float], size: int, samples: int = 4
) -> tuple[tuple[slice, slice], np.ndarray]:
    """The share of each pixel that a shape covers, in the smallest window around the shape.

    Args:
        shape: key of SHAPES.
        radius: half its width, in widths of the image.
        center: (y, x) in [0, 1].
        size: pixels a side of the image.
        samples: sample points a pixel, in each direction.

    Returns:
        The window, as slices (y, x), and float [h, w] in [0, 1].
    """
    outline = SHAPES[shape]
    window, axes = [], []
    for middle, half in zip(center, (outline.half_height, outline.half_width), strict=True):
        low = max(int((middle - half * radius) * size), 0)
        high = min(int((middle + half * radius) * size) + 1, size)
        points = low + (np.arange((high - low) * samples) + 0.5) / samples
        window.append(slice(low, high))
        axes.append((points / size - middle) / radius)
    y, x = axes
    inside = outline.inside(x[None, :], y[:, None])
    inside = inside.reshape(len(y) // samples, samples, len(x) // samples, samples)
    return tuple(window), inside.mean((1, 3))


Layer = tuple[Object, tuple[slice, slice], np.ndarray]  # with its window and coverage


def layers(scene: Scene, size: int, offsets: np.ndarray | None = None) -> list[Layer]:
    """What is drawn, first things first; `offsets` as from `random_offsets`."""
    centers = _centers(scene, offsets).tolist()
    return [
        (thing, *coverage(thing.shape, SIZES[thing.size], center, size))
        for thing, center in zip(scene.objects, centers, strict=True)
    ]


def _centers(scene: Scene, offsets: np.ndarray | None) -> np.ndarray:
    centers = np.array([POSITIONS[thing.position] for thing in scene.objects])
    return centers if offsets is None else centers + offsets


def paint(layers: list[Layer], size: int) -> np.ndarray:
    """The image, antialiased: uint8 [size, size, 3]."""
    image = np.empty((size, size, 3), np.float32)
    image[:] = BACKGROUND
    for thing, window, alpha in layers:
        image[window] += alpha[..., None] * (COLORS[thing.color] - image[window])
    return np.round(image).astype(np.uint8)


def classify(layers: list[Layer], size: int) -> np.ndarray:
    """The class of each pixel: uint8 [size, size], 0 background, else 1 + index in SHAPES."""
    classes = np.zeros((size, size), np.uint8)
    for thing, window, alpha in layers:
        classes[window][alpha >= 0.5] = 1 + list(SHAPES).index(thing.shape)
    return classes


def boxes(scene: Scene, offsets: np.ndarray | None = None) -> np.ndarray:
    """Bounding boxes: float32 [n, 4], each (ymin, xmin, ymax, xmax) in [0, 1]."""
    outlines = [SHAPES[o.shape] for o in scene.objects]
    half = np.array([(outline.half_height, outline.half_width) for outline in outlines])
    half *= np.array([SIZES[o.size] for o in scene.objects])[:, None]
    centers = _centers(scene, offsets)
    return np.concatenate([centers - half, centers + half], axis=1).astype(np.float32)
