"""Random masks for training inpainting: free-form strokes and boxes (Suvorov et al. 2022, LaMa).

The parameters are those of LaMa's thick masks, for images of 256 pixels a side; for other sizes,
widths and lengths change in proportion.
"""

import numpy as np
from PIL import Image, ImageDraw

REFERENCE = 256  # pixels a side for the parameters below
STROKES, TURNS = (1, 5), (1, 5)  # least and most: strokes of a mask, segments of a stroke
WIDTH, LENGTH = (5, 105), (10, 210)  # of a segment
ANGLES = 0.01 + np.arange(4)  # of a segment, in radians; every other one is taken backwards
BOXES, SIDE, MARGIN = (1, 4), (30, 150), 10  # boxes of a mask, and how far from the border


def free_form(size: int, rng: np.random.Generator) -> np.ndarray:
    """A mask [size, size] bool, True in the inpainted region: strokes or boxes, equally often.

    Neither nothing nor everything is masked.
    """
    while True:
        mask = strokes(size, rng) if rng.random() < 0.5 else boxes(size, rng)
        if mask.any() and not mask.all():
            return mask


def strokes(size: int, rng: np.random.Generator) -> np.ndarray:
    """Strokes of a thick brush with a few turns, [size, size] bool."""
    scale = size / REFERENCE
    canvas = Image.new("1", (size, size))
    pencil = ImageDraw.Draw(canvas)
    for _ in range(_between(STROKES, rng)):
        start = rng.uniform(0, size, 2)
        for turn in range(_between(TURNS, rng)):
            angle = rng.choice(ANGLES) * (-1 if turn % 2 == 0 else 1)
            length, width = (rng.uniform(*span) * scale for span in (LENGTH, WIDTH))
            end = np.clip(start + length * np.array([np.sin(angle), np.cos(angle)]), 0, size)
            pencil.line([*start, *end], fill=1, width=max(1, round(width)))
            for x, y in (start, end):  # round ends
                r = width / 2
                pencil.ellipse([x - r, y - r, x + r, y + r], fill=1)
            start = end
    return np.array(canvas)


def boxes(size: int, rng: np.random.Generator) -> np.ndarray:
    """Boxes away from the border, [size, size] bool."""
    scale = size / REFERENCE
    mask = np.zeros((size, size), bool)
    margin = round(MARGIN * scale)
    for _ in range(_between(BOXES, rng)):
        sides = [max(1, round(rng.uniform(*SIDE) * scale)) for _ in "yx"]
        top, left = (rng.integers(margin, max(margin + 1, size - margin - s + 1)) for s in sides)
        mask[top : top + sides[0], left : left + sides[1]] = True
    return mask


def _between(span: tuple[int, int], rng: np.random.Generator) -> int:
    """A whole number from the lower to the upper, both included."""
    return int(rng.integers(span[0], span[1] + 1))
