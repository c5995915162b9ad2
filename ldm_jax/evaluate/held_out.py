"""Samples for the conditions of held-out images."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ldm_jax import runs, sampling
from ldm_jax.conditioning.condition import Condition
from ldm_jax.errors import InputError
from ldm_jax.sampling.held_out import held_out
from ldm_jax.types import Batch


@dataclass(frozen=True)
class Options:
    """The settings of an evaluation; what is None is as the run's config has it."""

    out: str | None = None
    """folder to write to; default: a folder in RUN"""
    num: int = 100
    batch_size: int = 50
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None


class HeldOut(NamedTuple):
    """Held-out examples, and samples for their conditions.

    truth: uint8 [N, H, W, 3]
    inputs: of the conditioner, each [N, ...]
    drawn: uint8 [N * draws, H, W, 3]
    """

    trained: runs.Trained
    truth: np.ndarray
    inputs: Batch
    drawn: np.ndarray


def draw_held_out(
    run: str, kind: type[Condition], options: Options, name: str, draws: int = 1
) -> HeldOut:
    """Draws for conditions of the run's test split, and writes the images as sample.py does.

    Args:
        draws: images for each condition; those of the first draw come first in `drawn`.

    Raises:
        InputError: a model of another condition, or fewer examples.
    """
    described = runs.describe(Path(run))
    condition = described.experiment.condition
    if not isinstance(condition, kind):
        raise InputError(
            f"run '{run}' has a condition of kind {type(condition).__name__}: expected "
            f"{kind.__name__}"
        )
    settings = {name: getattr(options, name) for name in Options.__dataclass_fields__}
    settings |= {"num": options.num * draws}
    del settings["out"]
    wanted = sampling.resolve(described, **settings, from_data=options.num)
    trained = runs.with_weights(described)
    keys = trained.model.conditioner.keys
    batch = held_out(trained.experiment.data, condition, keys, options.num)
    truth = np.round((batch["image"] + 1.0) * 127.5).astype(np.uint8)
    drawn = sampling.draw(trained, wanted)
    out = Path(options.out or runs.folder(run) / name)
    sampling.write(out, drawn, trained, wanted)
    return HeldOut(trained, truth, {key: batch[key] for key in keys}, drawn.images)
