"""Samples for the conditions of held-out images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ldm_jax import runs, sampling
from ldm_jax.conditioning.condition import find
from ldm_jax.conditioning.given import held_out
from ldm_jax.data import image_files
from ldm_jax.errors import InputError
from ldm_jax.evaluate.generate import Drawing
from ldm_jax.evaluate.results import check_own, folder_of
from ldm_jax.sampling.view import view
from ldm_jax.sections import RunView
from ldm_jax.settings import AtLeast1, AtLeast2
from ldm_jax.types import Batch


@dataclass(frozen=True)
class Options(Drawing):
    """The settings of an evaluation."""

    out: str | None = None
    """folder to write to; default: a folder in RUN"""
    num: AtLeast1 = 100
    """conditions of held-out images"""
    batch_size: AtLeast1 = 50
    """images that are drawn at once"""


@dataclass(frozen=True)
class Paired(Options):
    """Of one that compares with the condition of another image, which is what chance finds."""

    num: AtLeast2 = 100
    """conditions of held-out images"""


class HeldOut(NamedTuple):
    """Held-out examples, and samples for their conditions.

    out:    the folder with the samples
    truth:  uint8 [N, H, W, 3]
    inputs: what the conditioner read of them, each [N, ...]
    drawn:  uint8 [N * draws, H, W, 3]
    """

    out: Path
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


def draw(described: runs.Trained, options: Options, out: Path, num: int, **more: Any) -> np.ndarray:
    """Draws `num` images uint8 [num, H, W, 3], and writes them as sample.py does.

    Args:
        more: options of the request by name.

    Raises:
        InputError: what the model cannot be asked for, before its weights are read.
    """
    request = options.request(view(described), num=num, batch_size=options.batch_size, **more)
    sampling.check_out(out, request, view(described))
    check_own(out, "report.json", "weights", "scores.json")
    trained = runs.with_weights(described)
    drawn = sampling.draw(trained, request)
    sampling.write(out, drawn, trained, request)
    return drawn.images


def draw_held_out(run: str, entry: str, options: Options, name: str, draws: int = 1) -> HeldOut:
    """Draws for conditions of the run's test split.

    Args:
        entry: of a batch, which the model's condition reads.
        name: of the folder in the run to write to, where the options have no other.
        draws: images for each condition; those of the first draw come first in `drawn`.

    Raises:
        InputError: a model of another condition, or fewer examples.
    """
    described = options.described(run)
    understood = view(described)
    condition = condition_of(understood, entry)
    out, keys = folder_of(options.out, run, name), described.model.conditioner.keys
    drawn = draw(described, options, out, options.num * draws, from_data=options.num)
    batch = held_out(understood.data, condition, keys, options.num, "--num")
    truth = image_files.to_uint8(batch["image"])
    return HeldOut(out, truth, {key: batch[key] for key in keys}, drawn)
