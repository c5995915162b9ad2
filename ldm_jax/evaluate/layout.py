"""Agreement of samples with the boxes that they are conditioned on."""

from pathlib import Path

import numpy as np

from ldm_jax import runs
from ldm_jax.data.drawing import SHAPES
from ldm_jax.errors import InputError
from ldm_jax.evaluate.held_out import Paired as Options
from ldm_jax.evaluate.held_out import draw_held_out
from ldm_jax.evaluate.results import scored, show
from ldm_jax.metrics.placement import layout_scores


def layout(run: str, options: Options) -> None:
    """Draws images for held-out boxes of `shapes`, detects their shapes, prints scores."""
    names = runs.object_names(Path(run))
    if not names or not set(names) <= set(SHAPES):
        raise InputError(
            f"run '{run}' was trained on boxes of {', '.join(names) or 'nothing'}: layouts can "
            "only be read from images of `shapes`, with shapes as classes"
        )
    found = draw_held_out(run, "boxes", options, "layout")
    boxes = found.inputs["boxes"]
    scores = layout_scores(found.drawn, boxes, names)
    by_chance = layout_scores(found.drawn, np.roll(boxes, 1, axis=0), names)
    show(found.out, [outline(*pair) for pair in zip(found.drawn, boxes, strict=True)])
    scored(found.out, scores, by_chance, "with the boxes of another image")


def outline(image: np.ndarray, boxes: np.ndarray, scale: int = 3) -> np.ndarray:
    """An enlarged image with thin frames where boxes are, uint8."""
    large = image.repeat(scale, axis=0).repeat(scale, axis=1)
    last = len(large) - 1
    for x, y, width, height, kind in boxes:
        if kind >= 0:
            left, top, right, bottom = (
                int(np.clip(round(p * len(large)), 0, last)) for p in (x, y, x + width, y + height)
            )
            large[top : bottom + 1, [left, right]] = large[[top, bottom], left : right + 1] = 0
    return large
