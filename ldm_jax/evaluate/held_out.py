"""Samples for the conditions of held-out images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ldm_jax import runs, sampling
from ldm_jax.conditioning.condition import find
from ldm_jax.conditioning.given import held_out
from ldm_jax.errors import InputError
from ldm_jax.evaluate.drawing import Drawing
from ldm_jax.sampling.view import view
from ldm_jax.sections import RunView
from ldm_jax.types import Batch


@dataclass(frozen=True)
class Options(Drawing):
    """The settings of an evaluation."""

    out: str | None = None
    """folder to write to; default: a folder in RUN"""
    num: int = 100
    """conditions of held-out images"""
    batch_size: int = 50
    """images that are drawn at once"""


class HeldOut(NamedTuple):
    """Held-out examples, and samples for their conditions.

    truth:  uint8 [N, H, W, 3]
    inputs: what the conditioner read of them, each [N, ...]
    drawn:  uint8 [N * draws, H, W, 3]
    """

    trained: runs.Trained
    truth: np.ndarray
    inputs: Batch
    drawn: np.ndarray


def condition_of(run: RunView, entry: str) -> Any:
    """The condition that reads this entry of a batch.

    Raises:
        InputError: a model of other conditions.
    """
    found = find(run.conditions, entry)
    if found is None:
        raise InputError(
            f"run '{run.run}' is of a model of {run.kind}: expected one that reads '{entry}'"
        )
    return found


def draw_held_out(run: str, entry: str, options: Options, name: str, draws: int = 1) -> HeldOut:
    """Draws for conditions of the run's test split, and writes the images as sample.py does.

    Args:
        entry: of a batch, which the model's condition reads.
        draws: images for each condition; those of the first draw come first in `drawn`.

    Raises:
        InputError: a model of another condition, or fewer examples.
    """
    described = runs.describe(Path(run))
    understood = view(described)
    condition = condition_of(understood, entry)
    num, size = options.num * draws, options.batch_size
    request = options.request(understood, num=num, batch_size=size, from_data=options.num)
    trained = runs.with_weights(described)
    keys = trained.model.conditioner.keys
    batch = held_out(understood.data, condition, keys, options.num, "--num")
    truth = np.round((batch["image"] + 1.0) * 127.5).astype(np.uint8)
    drawn = sampling.draw(trained, request)
    out = Path(options.out or runs.folder(run) / name)
    sampling.write(out, drawn, trained, request)
    return HeldOut(trained, truth, {key: batch[key] for key in keys}, drawn.images)
