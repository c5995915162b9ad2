"""The checkpoints in RUN/checkpoints by their steps, and what one is made of."""

import contextlib
import json
import math
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any, TypeVar

from flax.traverse_util import flatten_dict, unflatten_dict

from ldm_jax.types import TrainState

ITEMS = ("params", "ema", "optimizer", "power")  # of a checkpoint, each read without the others
T = TypeVar("T")
_read: dict[Path, tuple] = {}  # folder -> its files, what was read of them

# metrics of which more is better; of all others, less
HIGHER = ("psnr", "accuracy", "eval_psnr", "eval_ssim")


def parts(state: TrainState) -> dict:
    """The items of a checkpoint of this state."""
    optimizer = {"step": state.step, "opt_state": state.opt_state}
    items = {"params": state.params, "ema": state.ema, "optimizer": optimizer}
    return {**items, "power": state.power} if state.power else items


def flat(tree: Mapping) -> dict[str, Any]:
    """The arrays of parts of params by their names, such as denoiser/conv_in/kernel."""
    return flatten_dict(dict(tree), sep="/")


def without(tree: Mapping, names: Container[str]) -> dict:
    """Parts of params without the arrays of these names."""
    return unflatten_dict({name: x for name, x in flat(tree).items() if name not in names}, sep="/")


def merged(*trees: Mapping) -> dict:
    """Parts of params that are whole together; of what two of them have, the later's."""
    flats = [flatten_dict(dict(tree), keep_empty_nodes=True, sep="/") for tree in trees]
    return unflatten_dict({name: x for one in flats for name, x in one.items()}, sep="/")


def steps(run: Path) -> list[int]:
    """The steps of a run's checkpoints, the newest first."""
    folder = run / "checkpoints"
    if not folder.is_dir():
        return []
    found = (int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())
    return sorted(found, reverse=True)


def latest_step(run: Path) -> int | None:
    """The step of the newest checkpoint of a run; None where it has none."""
    return next(iter(steps(run)), None)


def best_step(run: Path, metric: str) -> int | None:
    """The step of the checkpoint that is best by a metric, the newest of equals; None where no
    checkpoint was saved with it, or of none it can be read."""
    ranks = {}
    for step in steps(run):
        file = run / "checkpoints" / str(step) / "metrics" / "metrics"
        with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
            metrics = json.loads(file.read_text("utf-8"))
            ranks |= {step: float(rank(metrics, metric))} if metric in metrics else {}
    return max(ranks, key=lambda step: (ranks[step], step), default=None)


def rank(metrics: Mapping[str, float], metric: str) -> float:
    """The more, the better; the least where the metric was not measured."""
    if metric not in metrics:
        return -math.inf
    return metrics[metric] if metric in HIGHER else -metrics[metric]


def once(folder: Path, read: Callable[[], T]) -> T:
    """The result of `read`, which is called again only where a file in the folder has changed.

    Orbax opens every array for the metadata of a checkpoint.
    """
    files = tuple(
        (path, path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    )
    if folder not in _read or _read[folder][0] != files:
        _read[folder] = files, read()
    return _read[folder][1]
