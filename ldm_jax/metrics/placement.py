"""Whether objects are where the layout has them, read from images of the `shapes` data set."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ldm_jax.data import drawing
from ldm_jax.metrics.caption_accuracy import CONTRAST, read

FOUND = 0.5  # least intersection over union of a box that is counted as found


def foreground(image: np.ndarray) -> np.ndarray:
    """The mask of pixels that are not background: uint8 [H, W, 3] -> bool [H, W]."""
    difference = image.astype(np.float32) - np.asarray(drawing.BACKGROUND, np.float32)
    return np.linalg.norm(difference, axis=-1) > CONTRAST


def boxes_in(image: np.ndarray) -> np.ndarray:
    """Bounding boxes of the foreground in each cell, [n, 4]: x, y, width, height in [0, 1].

    Neighbours that touch in a small image lie in different cells.
    """
    mask = foreground(image)
    H, W = mask.shape
    row = np.minimum(np.arange(H) * len(drawing.ROWS) // H, len(drawing.ROWS) - 1)
    column = np.minimum(np.arange(W) * len(drawing.COLUMNS) // W, len(drawing.COLUMNS) - 1)
    cells = np.where(mask, 1 + len(drawing.COLUMNS) * row[:, None] + column[None, :], 0)
    rows = [
        (x.start / W, y.start / H, (x.stop - x.start) / W, (y.stop - y.start) / H)
        for y, x in filter(None, ndimage.find_objects(cells))
    ]
    return np.array(rows, np.float32).reshape(-1, 4)


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [n, 4] and [m, 4]: [n, m]."""
    start = np.maximum(a[:, None, :2], b[None, :, :2])
    end = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    shared = np.prod(np.maximum(end - start, 0), axis=-1)
    areas = np.prod(a[:, 2:], axis=1)[:, None] + np.prod(b[:, 2:], axis=1)[None, :]
    return shared / np.maximum(areas - shared, 1e-12)


def layout_scores(
    images: Sequence[np.ndarray], layouts: Sequence[np.ndarray], names: Sequence[str]
) -> dict[str, float]:
    """Scores in [0, 1] of how well images match their layouts.

    Args:
        layouts: [n, 5] each, as in `data.objects`; negative classes do not count.
        names: of the classes, shapes.

    Returns:
        "found": share of the boxes that match the foreground of a cell, by an intersection over
        union of FOUND; "class": share of the boxes in whose cell there is an object of their class;
        "count": share of the images with as many objects as boxes.
    """
    found, right, count = [], [], []
    for image, layout in zip(images, layouts, strict=True):
        layout = layout[layout[:, 4] >= 0]
        boxes, objects = boxes_in(image), read(image)
        count.append(len(objects) == len(layout))
        best = overlaps(layout[:, :4], boxes).max(axis=1, initial=0.0)
        found += (best >= FOUND).tolist()
        shape_at = {thing.position: thing.shape for thing in objects}
        for x, y, width, height, kind in layout:
            right.append(shape_at.get(_cell(x + width / 2, y + height / 2)) == names[int(kind)])
    return {name: float(np.mean(x)) for name, x in zip(SCORES, (found, right, count), strict=True)}


SCORES = ("found", "class", "count")


def _cell(x: float, y: float) -> str:
    """The position of `shapes` that is nearest to a point."""
    away = {
        name: abs(y - row) + abs(x - column) for name, (row, column) in drawing.POSITIONS.items()
    }
    return min(away, key=away.get)


def map_scores(images: Sequence[np.ndarray], maps: Sequence[np.ndarray]) -> dict[str, float]:
    """Scores in [0, 1] of how well images match their class maps.

    Args:
        maps: [H, W] each, 0 for background and 1 + index in SHAPES for shapes.

    Returns:
        "pixels": share of the pixels that are background, or not, as in the map; "iou":
        intersection over union of the foreground; "class": share of the map's objects whose shape
        is read from the image in their cell.
    """
    names = list(drawing.SHAPES)
    same, shared, either, right = 0, 0, 0, []
    for image, classes in zip(images, maps, strict=True):
        mask, expected = foreground(image), classes > 0
        same += np.mean(mask == expected)
        shared, either = shared + np.sum(mask & expected), either + np.sum(mask | expected)
        shape_at = {thing.position: thing.shape for thing in read(image)}
        regions, n = ndimage.label(expected)
        for i in range(1, n + 1):
            rows, columns = np.nonzero(regions == i)
            kind = names[int(classes[rows[0], columns[0]]) - 1]
            H, W = classes.shape
            right.append(
                shape_at.get(_cell((columns.mean() + 0.5) / W, (rows.mean() + 0.5) / H)) == kind
            )
    return {
        "pixels": float(same / len(maps)),
        "iou": float(shared / max(either, 1)),
        "class": float(np.mean(right)),
    }
