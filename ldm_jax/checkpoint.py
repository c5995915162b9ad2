"""Checkpoints: a run's state and its place in the data, through Orbax.

A checkpoint is complete or absent: Orbax writes beside it and renames. The parts are items of
their own ("params", "ema", "optimizer", "data"), so that sampling reads only the weights.
"""

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp

from ldm_jax.errors import InputError
from ldm_jax.types import Params, TrainState


def manager(run: Path, keep: int = 2) -> ocp.CheckpointManager:
    """The checkpoints of a run, in RUN/checkpoints; creates the folder only when it saves."""
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, create=False, enable_async_checkpointing=True
    )
    return ocp.CheckpointManager((run / "checkpoints").absolute(), options=options)


def latest_step(run: Path) -> int | None:
    """The step of the newest checkpoint of a run; None where it has none."""
    folder = run / "checkpoints"
    if not folder.is_dir():
        return None
    steps = [int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()]
    return max(steps, default=None)


def save(checkpoints: ocp.CheckpointManager, state: TrainState, data: Any, force=False) -> None:
    """Starts to save a state and the position of the data iterator, under the state's step."""
    checkpoints.save(
        int(state.step),
        args=ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            ema=ocp.args.StandardSave(state.ema),
            optimizer=ocp.args.StandardSave(parts(state)["optimizer"]),
            data=grain.checkpoint.CheckpointSave(data),
        ),
        force=force,
    )


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


def averaged_parts(run: Path) -> set[str]:
    """The names of the parts of which the newest checkpoint holds averages."""
    with _newest(run) as (checkpoints, step):
        return set(checkpoints.item_metadata(step).get("ema") or {})


def read_part(run: Path, item: str, part: str) -> Params:
    """One part of "params" or "ema" in the newest checkpoint, as numpy arrays."""
    with _newest(run) as (checkpoints, step):
        there = {part: checkpoints.item_metadata(step)[item][part]}
        wanted = jax.tree.map(lambda x: ocp.RestoreArgs(restore_type=np.ndarray), there)
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), there)
        asked = ocp.args.PyTreeRestore(target, restore_args=wanted, partial_restore=True)
        return checkpoints.restore(step, args=ocp.args.Composite(**{item: asked}))[item][part]


def restore(run: Path, target: TrainState, data: Any) -> TrainState:
    """The newest state of a run; sets the data iterator to where it was.

    Args:
        target: shapes, dtypes and shardings of the state.

    Raises:
        InputError: the checkpoint holds another architecture; names a shape that differs.
    """
    check_architecture(run, parts(target))
    items = {
        name: ocp.args.PyTreeRestore(
            tree, restore_args=ocp.checkpoint_utils.construct_restore_args(tree)
        )
        for name, tree in parts(target).items()
    }
    with _newest(run) as (checkpoints, step):
        read = checkpoints.restore(
            step, args=ocp.args.Composite(**items, data=grain.checkpoint.CheckpointRestore(data))
        )
    return TrainState(params=read.params, ema=read.ema, **read.optimizer)


def restore_weights(run: Path, target: Params) -> Params:
    """The newest weights of a run: averaged where an average is kept. Reads nothing else.

    Args:
        target: the parts of params that are wanted: shapes, dtypes and shardings.

    Raises:
        InputError: the run has no checkpoint, or one of another architecture.
    """
    with _newest(run) as (checkpoints, step):
        items = _items(checkpoints.item_metadata(step), target)
        _check_shapes(run, step, checkpoints, items)
        wanted = {
            name: ocp.args.PyTreeRestore(
                tree,
                restore_args=ocp.checkpoint_utils.construct_restore_args(tree),
                partial_restore=True,
            )
            for name, tree in items.items()
        }
        read = checkpoints.restore(step, args=ocp.args.Composite(**wanted))
    return {part: weights for name in items for part, weights in read[name].items()}


def check_weights(run: Path, target: Params) -> None:
    """Raises InputError unless `restore_weights` finds the shapes of `target`."""
    with _newest(run) as (checkpoints, step):
        _check_shapes(run, step, checkpoints, _items(checkpoints.item_metadata(step), target))


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
    with _newest(run) as (checkpoints, step):
        _check_shapes(run, step, checkpoints, target, whole=True)


def _check_shapes(
    run: Path, step: int, checkpoints: ocp.CheckpointManager, target: dict, whole: bool = False
) -> None:
    """Compares the shapes of items; parts that `target` does not name count where `whole`."""
    metadata = checkpoints.item_metadata(step)
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
    return {"params": state.params, "ema": state.ema, "optimizer": optimizer}


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x.shape for path, x in leaves}


@contextlib.contextmanager
def _newest(run: Path) -> Iterator[tuple[ocp.CheckpointManager, int]]:
    """A run's checkpoints, open for reading, and the newest step."""
    step = latest_step(run)
    if step is None:
        raise InputError(f"run '{run}' has no checkpoint: train it first with train.py")
    # which items there are must be said, or Orbax guesses (and warns)
    handlers = {name: ocp.PyTreeCheckpointHandler() for name in ("params", "ema", "optimizer")}
    try:
        with ocp.CheckpointManager(
            (run / "checkpoints").absolute(),
            options=ocp.CheckpointManagerOptions(create=False, read_only=True),
            item_handlers={**handlers, "data": grain.checkpoint.CheckpointHandler()},
        ) as checkpoints:
            yield checkpoints, step
    except InputError:
        raise
    except Exception as error:  # Orbax raises anything for files that are missing or damaged
        raise InputError(
            f"checkpoint '{run / 'checkpoints' / str(step)}' cannot be read "
            f"({' '.join(str(error).split())[:200]}): remove it to use the one before"
        ) from error
