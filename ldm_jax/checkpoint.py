"""Checkpoints: a run's state and its place in the data, through Orbax.

A checkpoint is complete or absent: Orbax writes beside it and renames. The parts are items of
their own ("params", "ema", "optimizer", "data", and "power" where such averages are kept), so that
sampling reads only the weights. Whoever reads takes one by its step, which must be whole, or else
the newest that can be read, and names on standard error those that cannot. The arrays in Orbax's
files have no digest of their own, so RUN/digests/STEP.json has those of the files, by which one
that was changed is known.
"""

import contextlib
import json
import math
import mmap
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp

from ldm_jax.errors import InputError, StoppedError, reason
from ldm_jax.types import Params, TrainState

T = TypeVar("T")
ITEMS = ("params", "ema", "optimizer", "power")
# metrics of which more is better; of all others, less
HIGHER = ("psnr", "accuracy", "eval_psnr", "eval_ssim")


class Saves(NamedTuple):
    """What checkpoints are saved with.

    digesting: threads that wait for a checkpoint to be whole, and write its digests
    """

    run: Path
    orbax: ocp.CheckpointManager
    digesting: list[threading.Thread]


@contextlib.contextmanager
def manager(run: Path, keep: int = 2, best: str | None = None) -> Iterator[Saves]:
    """The checkpoints of a run, in RUN/checkpoints, to be written beside other work.

    Creates the folder only when it saves, and removes what a killed run left half-written.

    Args:
        keep: how many of the newest to keep.
        best: a metric by which the best is kept as well.

    Raises:
        StoppedError: on leaving, where one could not be saved.
    """
    policies = ocp.checkpoint_managers
    kept, rank = [policies.LatestN(keep)], None
    if best:

        def rank(metrics):
            return _rank(metrics, best)

        kept.append(policies.BestN(get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False))
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(kept),
        best_fn=rank,
        create=False,
        cleanup_tmp_directories=(run / "checkpoints").is_dir(),
        enable_async_checkpointing=True,
    )
    folder = (run / "checkpoints").absolute()
    with _saving(run):
        checkpoints = ocp.CheckpointManager(folder, options=options)
    saves = Saves(run, checkpoints, [])
    try:
        yield saves
    except BaseException:
        with contextlib.suppress(Exception):  # what ended the run is told, not what followed
            checkpoints.close()
        raise
    else:
        with _saving(run):
            checkpoints.close()
    finally:
        for thread in saves.digesting:
            thread.join()
        if jax.process_index() == 0:
            gone = {file.stem for file in (run / "digests").glob("*.json")} - set(
                map(str, steps(run))
            )
            for step in gone:
                _forget_digest(run, int(step))


@contextlib.contextmanager
def _saving(run: Path) -> Iterator[None]:
    """Whatever keeps a checkpoint from being written, in one line."""
    try:
        yield
    except Exception as error:  # Orbax raises anything, also of its threads
        newest = latest_step(run)
        last = "none is saved yet" if newest is None else f"the newest that is whole is {newest}"
        raise StoppedError(
            f"a checkpoint cannot be saved in '{run / 'checkpoints'}' ({reason(error)}): {last}; "
            "make room there, and run the same command to go on from it"
        ) from error


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
    checkpoint was saved with it."""
    ranks = {}
    for step in steps(run):
        file = run / "checkpoints" / str(step) / "metrics" / "metrics"
        if file.exists() and metric in (metrics := json.loads(file.read_text())):
            ranks[step] = _rank(metrics, metric)
    return max(ranks, key=lambda step: (ranks[step], step), default=None)


def _rank(metrics: Mapping[str, float], metric: str) -> float:
    """The more, the better; the least where the metric was not measured."""
    if metric not in metrics:
        return -math.inf
    return metrics[metric] if metric in HIGHER else -metrics[metric]


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
    step = int(state.step)
    if jax.process_index() == 0:
        _forget_digest(saves.run, step)  # of one that was there before
    with _saving(saves.run):
        saves.orbax.save(
            step,
            args=ocp.args.Composite(
                **{name: ocp.args.StandardSave(tree) for name, tree in parts(state).items()},
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
        wait: until it is done; or else what is not yet done is not looked at.
    """
    with _saving(saves.run):
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
        found = {str(file.relative_to(folder)): crc for file, crc in _crcs(_files(folder, ITEMS))}
        place = saves.run / "digests"
        place.mkdir(exist_ok=True)
        if found:
            unfinished = place / f".{step}.json"
            unfinished.write_text(json.dumps(found))
            unfinished.replace(place / f"{step}.json")


def _forget_digest(run: Path, step: int) -> None:
    (run / "digests" / f"{step}.json").unlink(missing_ok=True)


def _files(folder: Path, items: Iterable[str]) -> list[Path]:
    """The files of some items of a checkpoint."""
    found = (file for item in items for file in (folder / item).rglob("*") if file.is_file())
    return sorted(found)


def _crcs(files: list[Path]) -> Iterator[tuple[Path, int]]:
    """CRC-32 of each file, read piece by piece, several at once."""

    def crc(file: Path) -> int:
        found = 0
        with file.open("rb") as opened:
            while piece := opened.read(2**22):
                found = zlib.crc32(piece, found)
        return found

    with ThreadPoolExecutor(4) as pool:
        yield from zip(files, pool.map(crc, files), strict=True)


def _check_digests(run: Path, step: int, items: Iterable[str]) -> None:
    """Raises ValueError where files of these items are not as they were written."""
    place = run / "digests" / f"{step}.json"
    if not place.exists():
        return
    folder = run / "checkpoints" / str(step)
    written = json.loads(place.read_text())
    expected = {name: crc for name, crc in written.items() if name.split("/")[0] in items}
    found = {str(file.relative_to(folder)): crc for file, crc in _crcs(_files(folder, items))}
    wrong = sorted(name for name in expected if found.get(name) != expected[name])
    if wrong:
        raise ValueError(f"{len(wrong)} of its files are not as written, such as {wrong[0]}")


def set_aside(run: Path, after: int) -> None:
    """Moves checkpoints of later steps, which could not be read, to RUN/damaged."""
    for step in steps(run):
        if step > after:
            place = run / "damaged" / str(step)
            place.parent.mkdir(exist_ok=True)
            while place.exists():
                place = place.with_name(f"{place.name}+")
            (run / "checkpoints" / str(step)).rename(place)
            _forget_digest(run, step)
            print(f"checkpoint {step} is now '{place}'", file=sys.stderr)


def save_weights(run: Path, params: Params, ema: Params | None = None) -> None:
    """Saves weights from elsewhere as checkpoint 0 of a run, since no update was made.

    Args:
        ema: averages of some parts of params, to be used in their place.
    """
    trees = {"params": params, "ema": ema} if ema else {"params": params}
    trees = jax.tree.map(np.asarray, trees)  # no copy of what is one, such as a view of a file
    registry = ocp.type_handlers.create_type_handler_registry((np.ndarray, _OneByOne()))
    handlers = {name: ocp.PyTreeCheckpointHandler(type_handler_registry=registry) for name in trees}
    with ocp.CheckpointManager(
        (run / "checkpoints").absolute(),
        options=ocp.CheckpointManagerOptions(create=False, enable_async_checkpointing=False),
        item_handlers=handlers,
    ) as checkpoints:
        items = {name: ocp.args.PyTreeSave(tree) for name, tree in trees.items()}
        checkpoints.save(0, args=ocp.args.Composite(**items))


class _OneByOne(ocp.type_handlers.NumpyHandler):
    """Writes one array after the other and copies none, so that a mapped file stays in its file."""

    def __init__(self):
        super().__init__(deepcopy_host_arrays=False)

    async def _background_serialize(self, values, infos, args=None):
        for value, info, arg in zip(values, infos, args, strict=True):
            await super()._background_serialize([value], [info], [arg])
            _forget(value)


def _forget(array: np.ndarray) -> None:
    """Lets go of what was read of the file that an array is a view of, if it is of one."""
    mapped = mapping_of(array)
    if mapped and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)  # it is read again where it is needed again


def mapping_of(array: np.ndarray) -> mmap.mmap | None:
    """The mapped file that an array is a view of; None where it has memory of its own."""
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    base = getattr(base, "obj", base)  # of a memoryview
    return base if isinstance(base, mmap.mmap) else None


# What reads takes `which`: the step of a checkpoint, or None for the newest that can be read


def averaged_parts(run: Path, which: int | None = None) -> set[str]:
    """The names of the parts of which a checkpoint holds averages."""
    return _read(run, lambda saved, step: set(_metadata(saved, step).get("ema") or {}), which)


def read_part(run: Path, item: str, part: str, which: int | None = None) -> Params:
    """One part of "params" or "ema" in a checkpoint, as numpy arrays."""

    def read(checkpoints, step):
        _check_digests(run, step, [item])
        there = {part: _metadata(checkpoints, step)[item][part]}
        wanted = jax.tree.map(lambda x: ocp.RestoreArgs(restore_type=np.ndarray), there)
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), there)
        asked = ocp.args.PyTreeRestore(target, restore_args=wanted, partial_restore=True)
        return checkpoints.restore(step, args=ocp.args.Composite(**{item: asked}))[item][part]

    return _read(run, read, which)


def restore(run: Path, target: TrainState, data: Any) -> TrainState:
    """The newest state of a run; sets the data iterator to where it was.

    Args:
        target: shapes, dtypes and shardings of the state.

    Raises:
        InputError: the checkpoint holds another architecture; names a shape that differs.
    """
    items = {
        name: ocp.args.PyTreeRestore(
            tree, restore_args=ocp.checkpoint_utils.construct_restore_args(tree)
        )
        for name, tree in parts(target).items()
    }

    def read(checkpoints, step):
        _check_shapes(run, step, checkpoints, parts(target), whole=True)
        _check_digests(run, step, ITEMS)
        place = _place(run / "checkpoints" / str(step) / "data")
        return checkpoints.restore(step, args=ocp.args.Composite(**items)), place

    found, place = _read(run, read)
    data.set_state(place)
    data.start_prefetch()
    power = found.power if target.power else {}
    return TrainState(params=found.params, ema=found.ema, power=power, **found.optimizer)


def _place(folder: Path) -> dict:
    """Where the stream of batches stood.

    Each host that saved wrote its own file, and all the same: the number of batches, of each of
    which every host deals itself a part. So any number of hosts goes on from it.
    """
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("process_*.json"))]
    if not found or any(place != found[0] for place in found):
        raise ValueError("its hosts do not say one place in the data")
    return found[0]


def restore_weights(
    run: Path, target: Params, exact: bool = True, which: int | None = None
) -> Params:
    """The weights of a run: averaged where an average is kept. Reads nothing else.

    Args:
        target: the parts of params that are wanted: shapes, dtypes and shardings.
        exact: whether these parts must have no more arrays there.

    Raises:
        InputError: the run has no checkpoint, or one of another architecture.
    """

    def read(checkpoints, step):
        items = _items(_metadata(checkpoints, step), target)
        if exact:
            _check_shapes(run, step, checkpoints, items)
        wanted = {
            name: ocp.args.PyTreeRestore(
                tree,
                restore_args=ocp.checkpoint_utils.construct_restore_args(tree),
                partial_restore=True,
            )
            for name, tree in items.items()
        }
        _check_digests(run, step, items)
        found = checkpoints.restore(step, args=ocp.args.Composite(**wanted))
        return {part: weights for name in items for part, weights in found[name].items()}

    return _read(run, read, which)


def weight_shapes(run: Path, which: int | None = None) -> Params:
    """The shapes of all parts of params in a checkpoint of a run."""

    def read(checkpoints, step):
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
            dict(_metadata(checkpoints, step)["params"]),
        )

    return _read(run, read, which)


def check_weights(run: Path, target: Params, which: int | None = None) -> None:
    """Raises InputError unless `restore_weights` finds the shapes of `target`."""
    _read(
        run,
        lambda saved, step: _check_shapes(run, step, saved, _items(_metadata(saved, step), target)),
        which,
    )


def _items(metadata, target: Params) -> dict[str, Params]:
    """The parts of `target` by the item of the checkpoint they are best read from."""
    averaged = set(metadata.get("ema") or {})
    items = {
        "ema": {name: tree for name, tree in target.items() if name in averaged},
        "params": {name: tree for name, tree in target.items() if name not in averaged},
    }
    return {name: tree for name, tree in items.items() if tree}


def check_architecture(run: Path, target: dict) -> None:
    """Raises InputError unless the newest checkpoint has the shapes of `target`, and no others."""
    _read(run, lambda saved, step: _check_shapes(run, step, saved, target, whole=True))


def _check_shapes(
    run: Path, step: int, checkpoints: ocp.CheckpointManager, target: dict, whole: bool = False
) -> None:
    """Compares the shapes of items; parts that `target` does not name count where `whole`."""
    metadata = _metadata(checkpoints, step)
    for item, tree in target.items():
        there = metadata[item]
        found = _shapes(there if whole else {part: there[part] for part in tree if part in there})
        expected = _shapes(tree)
        for name in sorted(found.keys() | expected.keys()):
            if found.get(name) != expected.get(name):
                raise InputError(
                    f"checkpoint {step} of run '{run}' has another architecture: {item} {name} is "
                    f"{found.get(name, 'absent')} there and {expected.get(name, 'absent')} here; "
                    "use the run's own config, or another --workdir"
                )


def parts(state: TrainState) -> dict:
    """The items of a checkpoint that hold arrays."""
    optimizer = {"step": state.step, "opt_state": state.opt_state}
    items = {"params": state.params, "ema": state.ema, "optimizer": optimizer}
    return {**items, "power": state.power} if state.power else items


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x.shape for path, x in leaves}


def _metadata(checkpoints: ocp.CheckpointManager, step: int) -> Mapping[str, Any]:
    """What a checkpoint says that it holds, item by item."""
    found = checkpoints.item_metadata(step)
    if not found.get("params"):
        raise ValueError("it has no params")
    return found


def _read(
    run: Path, read: Callable[[ocp.CheckpointManager, int], T], which: int | None = None
) -> T:
    """What `read` finds in a checkpoint: that of step `which` and no other, or the newest that it
    can read; names those that it cannot.

    Raises:
        InputError: there is no such checkpoint, or none can be read.
    """
    found = steps(run)
    if not found:
        raise InputError(f"run '{run}' has no checkpoint: train it first with train.py")
    if which is not None and which not in found:
        raise InputError(f"run '{run}' has no checkpoint {which}: expected {_listed(found)}")
    wanted = found if which is None else [which]
    # which items there are must be said, or Orbax guesses (and warns)
    handlers = {name: ocp.PyTreeCheckpointHandler() for name in ITEMS}
    with ocp.CheckpointManager(
        (run / "checkpoints").absolute(),
        options=ocp.CheckpointManagerOptions(create=False, read_only=True),
        item_handlers={**handlers, "data": grain.checkpoint.CheckpointHandler()},
    ) as checkpoints:
        for step, older in zip(wanted, [*wanted[1:], None], strict=True):
            try:
                return read(checkpoints, step)
            except (InputError, MemoryError, jax.errors.JaxRuntimeError):
                raise  # which says nothing of the checkpoint
            except (
                Exception
            ) as error:  # Orbax raises anything for files that are missing or damaged
                place = f"checkpoint '{run / 'checkpoints' / str(step)}' cannot be read"
                why = f"({reason(error)})"
                if older is None:
                    others = "and none is before it" if which is None else f"of {_listed(found)}"
                    raise InputError(f"{place} {why}: expected a whole one, {others}") from error
                print(f"warning: {place} {why}: the one before, {older}, is used", file=sys.stderr)
    raise AssertionError("a checkpoint was read or refused")


def _listed(found: list[int]) -> str:
    """The steps that there are, as an error names them."""
    return f"one of {', '.join(map(str, sorted(found)))}"


# Snapshots: averages that are kept for good, in RUN/snapshots


def save_snapshot(run: Path, state: TrainState) -> None:
    """Saves the averages of `state.power` for good, under the state's step."""
    with _saving(run), ocp.StandardCheckpointer() as writer:
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
