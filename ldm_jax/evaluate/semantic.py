"""Agreement of samples with the class maps that they are conditioned on."""

from pathlib import Path

import numpy as np

from ldm_jax import runs
from ldm_jax.errors import InputError
from ldm_jax.evaluate.held_out import Paired as Options
from ldm_jax.evaluate.held_out import draw_held_out
from ldm_jax.evaluate.results import scored, show
from ldm_jax.metrics.placement import map_scores


def semantic(run: str, options: Options) -> None:
    """Draws images for held-out class maps of `shapes`, compares, prints scores."""
    path = runs.describe(Path(run)).experiment.data.path
    if path != "shapes":
        raise InputError(
            f"run '{run}' was trained on '{path}': agreement with class maps can only be read from "
            "images of `shapes`, where every class is known"
        )
    found = draw_held_out(run, "segmentation", options, "semantic")
    maps = found.inputs["segmentation"]
    scores = map_scores(found.drawn, maps)
    by_chance = map_scores(found.drawn, np.roll(maps, 1, axis=0))
    grey = (255 - maps * (200 // max(int(maps.max()), 1))).astype(np.uint8)
    show(found.out, np.repeat(grey[..., None], 3, axis=-1), found.drawn)
    scored(found.out, scores, by_chance, "with the map of another image")
