"""A run's checkpoints, written while the run goes on.

A checkpoint is complete or absent: Orbax writes beside it and renames.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import grain
import jax
import orbax.checkpoint as ocp

from ldm_jax.checkpoint.digests import forget_digests, keep_digests, write_digests
from ldm_jax.checkpoint.folder import flat, latest_step, parts, rank, steps, without
from ldm_jax.errors import StoppedError, reason
from ldm_jax.types import TrainState


class Saves(NamedTuple):
    """What checkpoints are saved with.

    digesting: threads that wait for a checkpoint to be whole, and write its digests
    frozen:    names of arrays in RUN/frozen, which are not saved again
    """

    run: Path
    orbax: ocp.CheckpointManager
    digesting: list[threading.Thread]
    frozen: frozenset[str]


@contextlib.contextmanager
def manager(
    run: Path, keep: int = 2, best: str | None = None, frozen: Iterable[str] = ()
) -> Iterator[Saves]:
    """The checkpoints of a run, in RUN/checkpoints, to be written in the background.

    Creates the folder only when it saves, and removes what a killed run left half-written.

    Args:
        keep: how many of the newest to keep.
        best: a metric by which the best is kept as well.
        frozen: names of arrays in RUN/frozen, which are not saved again.

    Raises:
        StoppedError: on leaving, where one could not be saved.
    """
    policies = ocp.checkpoint_managers
    kept, measure = [policies.LatestN(keep)], None
    if best:
        measure = partial(rank, metric=best)
        kept.append(
            policies.BestN(get_metric_fn=measure, n=1, keep_checkpoints_without_metrics=False)
        )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(kept),
        best_fn=measure,
        create=False,
        cleanup_tmp_directories=(run / "checkpoints").is_dir(),
        enable_async_checkpointing=True,
    )
    folder = (run / "checkpoints").absolute()
    with stopping(run):
        checkpoints = ocp.CheckpointManager(folder, options=options)
    saves = Saves(run, checkpoints, [], frozenset(frozen))
    try:
        yield saves
    except BaseException:
        with contextlib.suppress(Exception):  # what ended the run is raised, not what followed
            checkpoints.close()
        raise
    else:
        with stopping(run):
            checkpoints.close()
    finally:
        for thread in saves.digesting:
            thread.join()
        if jax.process_index() == 0:
            keep_digests(run, steps(run))


@contextlib.contextmanager
def stopping(run: Path, part: str = "checkpoints") -> Iterator[None]:
    """Whatever keeps a part of a run from being written, in one line."""
    try:
        yield
    except Exception as error:  # Orbax raises anything, also of its threads
        newest = latest_step(run)
        last = "none is saved yet" if newest is None else f"the newest that is whole is {newest}"
        raise StoppedError(
            f"a checkpoint cannot be saved in '{run / part}' ({reason(error)}): {last}; "
            "make room there, and run the same command to go on from it"
        ) from error


def save(
    saves: Saves,
    state: TrainState,
    data: Any,
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Starts to save a state and the position of the data iterator, under the state's step.

    Args:
        metrics: among which is that by which the best is kept, if one is.

    Raises:
        StoppedError: it cannot be saved, or the one before could not be.
    """
    step, items = int(state.step), parts(state)
    for name in ("params", "ema"):
        if saves.frozen & flat(items[name]).keys():
            items[name] = without(items[name], saves.frozen) or items[name]
    if jax.process_index() == 0:
        forget_digests(saves.run, step)  # of one that was there before
    with stopping(saves.run):
        saves.orbax.save(
            step,
            args=ocp.args.Composite(
                **{name: ocp.args.StandardSave(tree) for name, tree in items.items()},
                data=grain.checkpoint.CheckpointSave(data),
            ),
            metrics=dict(metrics) if metrics else None,
            force=True,
        )
    if jax.process_index() == 0:
        thread = threading.Thread(target=_digest, args=(saves, step), name="digest")
        thread.start()
        saves.digesting[:] = [*(t for t in saves.digesting if t.is_alive()), thread]


def check_saved(saves: Saves, wait: bool = False) -> None:
    """Raises StoppedError where a save that was started has failed.

    Args:
        wait: until it is done; otherwise what is not yet done is not checked.
    """
    with stopping(saves.run):
        if wait:
            saves.orbax.wait_until_finished()
        saves.orbax.check_for_errors()


def _digest(saves: Saves, step: int) -> None:
    """Writes the digests of a checkpoint once it is whole.

    Where it cannot be done there is no digest, and the checkpoint is as good as before.
    """
    folder = saves.run / "checkpoints" / str(step)
    while not folder.exists() and saves.orbax.is_saving_in_progress():
        time.sleep(0.02)
    with contextlib.suppress(OSError):
        write_digests(saves.run, step)


def set_aside(run: Path, after: int) -> None:
    """Moves checkpoints of later steps, which could not be read, to RUN/damaged."""
    for step in steps(run):
        if step > after:
            place = run / "damaged" / str(step)
            place.parent.mkdir(exist_ok=True)
            while place.exists():
                place = place.with_name(f"{place.name}+")
            (run / "checkpoints" / str(step)).rename(place)
            forget_digests(run, step)
            print(f"checkpoint {step} is now '{place}'", file=sys.stderr)
