"""Snapshots: averages that are kept for good, in RUN/snapshots/STEP, one of each width."""

from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from ldm_jax.checkpoint.saving import stopping
from ldm_jax.types import Params, TrainState


def save_snapshot(run: Path, state: TrainState) -> None:
    """Saves the averages of `state.power` for good, under the state's step."""
    with stopping(run), ocp.StandardCheckpointer() as writer:
        for key, average in state.power.items():
            writer.save(_snapshot(run, int(state.step), key), average, force=True)
            writer.wait_until_finished()


def snapshot_steps(run: Path) -> list[int]:
    """The steps of a run's snapshots, in order."""
    folder = run / "snapshots"
    if not folder.is_dir():
        return []
    found = sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())
    return [step for step in found if snapshot_names(run, step)]


def snapshot_names(run: Path, step: int) -> list[str]:
    """The averages of a snapshot, by their widths."""
    entries = (run / "snapshots" / str(step)).iterdir()
    return sorted(entry.name for entry in entries if "orbax" not in entry.name)


def read_snapshot(run: Path, step: int, key: str) -> Params:
    """One average of a snapshot, as numpy arrays."""
    with ocp.PyTreeCheckpointer() as reader:
        place = _snapshot(run, step, key)
        there = reader.metadata(place).item_metadata.tree
        wanted = jax.tree.map(lambda x: ocp.RestoreArgs(restore_type=np.ndarray), there)
        return reader.restore(place, restore_args=wanted)


def _snapshot(run: Path, step: int, key: str) -> Path:
    return (run / "snapshots" / str(step) / key).absolute()
