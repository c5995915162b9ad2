"""Caption accuracy: whether images match their captions, for captions of the `shapes` data set.

No network is used: `read` finds the objects by comparison with drawings of every shape at every
size. It tolerates soft edges, a little noise and a shift of a pixel or two. What resembles no shape
or no color is read as UNKNOWN, which matches no caption. An additional object matches no caption
either.
"""

import itertools
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from PIL import Image
from scipy import ndimage, optimize

from ldm_jax.data import drawing
from ldm_jax.data.drawing import Object, Scene
from ldm_jax.errors import InputError

UNKNOWN = "unknown"
ATTRIBUTES = ("shape", "color", "size", "position")

SMALLEST, WORKING = 24, 48  # pixels a side: smaller images are refused, larger ones are reduced
CONTRAST = 48  # least distance from the background, in RGB, of a pixel that belongs to an object
COLOR_ERROR = 60  # largest distance, in RGB, of an object from a color that has its name
# Largest squared error of a named shape, relative to the square of the opacity. Drawings, between
# the sizes and shifts that are tried, reach 0.06; half circles, bars and rings lie above 0.15.
SHAPE_ERROR = 0.1
MOST_NOISE = 0.005  # largest mean square of the background, in opacity, that counts as noise
OFF_CENTER = 0.1  # of a cell, in y or in x, is where no object of the cell has its center
FADED = 0.7  # least opacity of an object
RADII = 0.145 * 1.07 ** np.arange(-10, 4)  # half widths that are tried: 0.074 ... 0.178
BLURS = (0.0, 0.8)  # standard deviations that are tried, in 32nds of the image
SHIFT, NUM_SHIFTS = 0.3, 5  # how far off the centroid, in 32nds, and in how many steps, to try
SMALL_LARGE = float(np.sqrt(drawing.SIZES["small"] * drawing.SIZES["large"]))  # limit between them


def read(image: np.ndarray) -> tuple[Object, ...]:
    """The objects in an image, in reading order; none where the image is empty.

    An attribute that cannot be determined is UNKNOWN.

    Args:
        image: uint8 [H, H, 3], H >= 24.

    Raises:
        InputError: for an image of another shape or type.
    """
    contrast = _prepare(image) - np.asarray(drawing.BACKGROUND, np.float32)
    owner = _owners(np.linalg.norm(contrast, axis=-1) > CONTRAST)
    return tuple(_read_object(contrast, owner, cell) for cell in np.unique(owner) if cell > 0)


def _prepare(image: np.ndarray) -> np.ndarray:
    height, width, *channels = np.shape(image) if np.ndim(image) == 3 else (0, 0)
    if channels != [3] or height != width or height < SMALLEST or image.dtype != np.uint8:
        raise InputError(
            f"image is {getattr(image, 'dtype', type(image))} {list(np.shape(image))}; "
            f"expected uint8 [H, H, 3] with H >= {SMALLEST}"
        )
    if height > WORKING:
        image = Image.fromarray(image).resize((WORKING, WORKING), Image.Resampling.BOX)
        image = np.asarray(image)
    return image.astype(np.float32)


def _owners(mask: np.ndarray) -> np.ndarray:
    """The cell of each pixel of an object: [H, H], 1 + index in POSITIONS, 0 for none.

    It is the cell in which the pixel lies. Where only the border of a connected region reaches into
    a cell, it is the cell with most of the region. Specks belong to no cell.
    """
    size = len(mask)
    cells = _cells(size)
    regions, count = ndimage.label(mask)
    shape = count + 1, len(drawing.POSITIONS) + 1
    part = regions * shape[1] + cells  # the part of a region that lies in a cell

    def total(weights: np.ndarray | None = None) -> np.ndarray:  # over the pixels of each part
        weights = None if weights is None else weights.ravel()
        return np.bincount(part.ravel(), weights, shape[0] * shape[1]).reshape(shape)

    mass = total()
    # How far, in y or in x, the centroid of a part lies from the center of its cell.
    points = (np.arange(size) + 0.5) / size
    centers = np.array([(0, 0), *drawing.POSITIONS.values()])[cells]
    away = [total(points[:, None] - centers[..., 0]), total(points[None, :] - centers[..., 1])]
    away = np.abs(away).max(0) / np.maximum(mass, 1)
    speck = 0.5 * _smallest_area() * size**2
    border = (mass < speck) | (away > OFF_CENTER)
    owner = np.where(border, mass.argmax(1)[:, None], np.arange(shape[1]))
    owner[mass.sum(1) < speck] = 0
    owner[0] = 0
    return owner[regions, cells]


@cache
def _cells(size: int) -> np.ndarray:
    """The nearest position of each pixel: [size, size], 1 + index in POSITIONS."""
    points = (np.arange(size) + 0.5) / size
    row = abs(points[:, None] - np.array(drawing.ROWS)).argmin(1)
    column = abs(points[:, None] - np.array(drawing.COLUMNS)).argmin(1)
    return 1 + len(drawing.COLUMNS) * row[:, None] + column[None, :]


@cache
def _smallest_area() -> float:
    """Of all objects, the least, in squared widths of the image."""
    least = min(drawing.SIZES.values())
    return min(_coverage(shape, least, 0.5, 0.5, 64).mean() for shape in drawing.SHAPES)


def _coverage(shape: str, radius: float, y: float, x: float, size: int) -> np.ndarray:
    whole = np.zeros((size, size), np.float32)
    window, alpha = drawing.coverage(shape, radius, (y, x), size)
    whole[window] = alpha
    return whole


def _read_object(contrast: np.ndarray, owner: np.ndarray, cell: int) -> Object:
    """The object in one cell; contrast: [H, H, 3], minus the background."""
    own = owner == cell
    size = len(own)
    color, toward = _read_color(contrast[own])
    # Opacity by projection on the color:  contrast = opacity * toward  ->  opacity [H, H]
    opacity = np.clip(contrast @ toward / (toward @ toward), -0.2, 1.2)
    # Other objects, with the pixels next to them, do not count.
    counts = ~ndimage.binary_dilation((owner > 0) & ~own) | own
    background = opacity[~ndimage.binary_dilation(owner > 0, iterations=2)]
    noise = min(float(np.mean(background**2)), MOST_NOISE) if background.size else 0.0
    y, x = _centroid(np.where(own, opacity, 0))
    shape, radius, y, x = _read_shape(opacity, counts, y, x, noise)
    position = _read_position(y / size, x / size)
    return Object(shape, color, "small" if radius < SMALL_LARGE else "large", position)


def _read_position(y: float, x: float) -> str:
    """The position at (y, x), in [0, 1]; UNKNOWN between two of them."""
    away = {
        name: max(abs(y - cell_y), abs(x - cell_x))
        for name, (cell_y, cell_x) in drawing.POSITIONS.items()
    }
    nearest = min(away, key=away.get)
    return nearest if away[nearest] <= OFF_CENTER else UNKNOWN


def _centroid(opacity: np.ndarray) -> tuple[float, float]:
    """(y, x), in pixels, of weights [H, H]."""
    weights = np.maximum(opacity, 1e-6)
    points = np.arange(len(weights)) + 0.5
    return weights.sum(1) @ points / weights.sum(), weights.sum(0) @ points / weights.sum()


def _read_color(contrast: np.ndarray) -> tuple[str, np.ndarray]:
    """The name of an object's color, and the nearest palette color minus the background.

    Args:
        contrast: [n, 3], the object's pixels minus the background.
    """
    names = list(drawing.COLORS)
    toward = np.array([drawing.COLORS[name] for name in names], np.float32) - drawing.BACKGROUND
    strength = np.linalg.norm(contrast, axis=1)
    core = contrast[strength >= np.quantile(strength, 0.6)]  # the others are edges
    middle = np.median(core, axis=0)
    faded = np.clip(toward @ middle / (toward**2).sum(1), FADED, 1)
    error = np.linalg.norm(middle - faded[:, None] * toward, axis=1)
    best = error.argmin()
    return names[best] if error[best] <= COLOR_ERROR else UNKNOWN, toward[best]


def _read_shape(
    opacity: np.ndarray, counts: np.ndarray, y: float, x: float, noise: float
) -> tuple[str, float, float, float]:
    """The drawing nearest to what has its centroid at (y, x): shape, half width, center (y, x).

    It minimizes  sum_counts (opacity - gain * drawing)^2  over drawings and 0.7 <= gain <= 1.1,
    where the sum is over the pixels that count; `noise` is what each of them adds in any case.
    """
    size = len(opacity)
    drawings, norms, labels = _drawings(size)
    reach = _reach(size)
    pad = ((reach, reach), (reach, reach))
    window = slice(int(y), int(y) + 2 * reach + 1), slice(int(x), int(x) + 2 * reach + 1)
    target = np.pad(opacity, pad)[window].ravel()
    ignored = ~np.pad(counts, pad, constant_values=True)[window].ravel()
    target[ignored] = 0
    energy = target @ target
    inner = np.einsum("kn,n->k", drawings, target)  # with BLAS, threads cost more than they save
    norm = norms - (drawings[:, ignored] ** 2).sum(1)
    gain = np.clip(inner / norm, FADED, 1.1)
    error = (energy - 2 * gain * inner + gain**2 * norm) / energy
    best = error.argmin()
    excess = error[best] - noise * np.sum(~ignored) / energy
    shape, radius, dy, dx = labels[best]
    name = list(drawing.SHAPES)[int(shape)] if excess <= SHAPE_ERROR else UNKNOWN
    return name, radius, int(y) + 0.5 + dy, int(x) + 0.5 + dx


def _reach(size: int) -> int:
    """Pixels from the middle of a window to its edge; the largest drawing fits."""
    return int(np.ceil(1.2 * RADII[-1] * size)) + 1


@cache
def _drawings(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The drawings that objects are compared with, for images of `size` pixels a side.

    Returns:
        Drawings [k, w * w], the sums of their squares [k], and for each of the k its (index
        of the shape, half width, y, x), where (y, x) leads from the middle of the window to the
        center of the shape, in pixels.
    """
    width = 2 * _reach(size) + 1
    middle = width / 2
    most = 0.5 + SHIFT * size / 32  # the centroid lies within half a pixel of the middle
    shifts = np.linspace(-most, most, NUM_SHIFTS)
    drawings, labels = [], []
    for index, shape in enumerate(drawing.SHAPES):
        # Below the middle of its box, in half widths, lies the centroid of the shape.
        lower = (_centroid(_coverage(shape, 0.4, 0.5, 0.5, 256))[0] / 256 - 0.5) / 0.4
        for radius in RADII:
            for dy, dx in itertools.product(shifts, shifts):
                y, x = (middle + dy) / width - lower * radius * size / width, (middle + dx) / width
                sharp = _coverage(shape, radius * size / width, y, x, width)
                for blur in BLURS:
                    drawings.append(ndimage.gaussian_filter(sharp, blur * size / 32, truncate=3))
                    labels.append((index, radius, dy - lower * radius * size, dx))
    flat = np.stack(drawings).reshape(len(drawings), -1)
    return flat, (flat**2).sum(1), np.array(labels)


# Scores


def matches(scene: Scene, objects: Sequence[Object]) -> bool:
    """Whether these are the objects of the scene: all, each with every attribute, and no others."""
    return len(objects) == len(scene.objects) and set(objects) == set(scene.objects)


def caption_scores(images: Iterable[np.ndarray], captions: Iterable[str]) -> dict[str, float]:
    """How often images match their captions, each score in [0, 1].

    Args:
        images: n images as for `read`, n >= 1.
        captions: n captions as for `ldm_jax.data.drawing.parse`.

    Returns:
        "caption": share of the images with exactly the stated objects, every attribute right;
        "count": share of the images with the stated number of objects;
        "shape", "color", "size", "position": share of the stated objects with this attribute right,
        each compared with the object in the image that is assigned to it.

    Raises:
        InputError: for bad images or captions, for none, or for unequal numbers of them.
    """
    images, captions = list(images), list(captions)
    if len(images) != len(captions) or not captions:
        raise InputError(
            f"{len(images)} images and {len(captions)} captions; expected as many, at least one"
        )
    scenes = [drawing.parse(text) for text in captions]
    found = [read(image) for image in images]
    pairs = list(zip(scenes, found, strict=True))
    agreement = np.concatenate([_agreement(scene, objects) for scene, objects in pairs])
    return {
        "caption": float(np.mean([matches(scene, objects) for scene, objects in pairs])),
        "count": float(np.mean([len(scene.objects) == len(objects) for scene, objects in pairs])),
        **dict(zip(ATTRIBUTES, agreement.mean(0).tolist(), strict=True)),
    }


def _agreement(scene: Scene, objects: Sequence[Object]) -> np.ndarray:
    """Which attributes of each stated object are right: bool [n, 4], in the order of ATTRIBUTES.

    Stated and detected objects are paired one to one so that most attributes agree.
    """
    stated, found = _table(scene.objects), _table(objects)
    equal = stated[:, None] == found[None]  # [n, m, 4]
    result = np.zeros((len(stated), len(ATTRIBUTES)), bool)
    rows, columns = optimize.linear_sum_assignment(equal.sum(-1), maximize=True)
    result[rows] = equal[rows, columns]
    return result


def _table(objects: Sequence[Object]) -> np.ndarray:
    table = [[getattr(thing, name) for name in ATTRIBUTES] for thing in objects]
    return np.array(table, dtype=object).reshape(len(table), len(ATTRIBUTES))
