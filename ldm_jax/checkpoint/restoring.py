"""A checkpoint, or some of it, read back, with the frozen weights of its run.

Whoever reads takes one by its step (`which`), which must be whole, or else (None) the newest that
can be read, and names on standard error those that cannot.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp

from ldm_jax.checkpoint.digests import check_digests
from ldm_jax.checkpoint.folder import ITEMS, flat, merged, once, parts, steps, without
from ldm_jax.checkpoint.frozen import frozen_metadata, read_frozen
from ldm_jax.errors import InputError, reason
from ldm_jax.runtime.sharding import named
from ldm_jax.types import Params, TrainState

T = TypeVar("T")


def read_part(run: Path, item: str, part: str, which: int | None = None) -> Params:
    """One part of "params" or "ema" in a checkpoint, as numpy arrays."""

    def read(checkpoints, step):
        check_digests(run, step, [item])
        target = _as_shapes({part: _metadata(checkpoints, step)[item][part]})
        return _items_of(checkpoints, step, {item: target}, _as_numpy)[item][part]

    return _read(run, read, which)


def restore(run: Path, target: TrainState, data: Any) -> TrainState:
    """The newest state of a run; sets the data iterator to where it was.

    Args:
        target: shapes, dtypes and shardings of the state, with frozen parts among its params.

    Raises:
        InputError: the checkpoint holds another architecture; names a shape that differs.
    """

    def read(checkpoints, step):
        _check_shapes(run, step, checkpoints, parts(target), whole=True)
        check_digests(run, step, ITEMS)
        data.set_state(_place(run / "checkpoints" / str(step) / "data"))
        return _items_of(checkpoints, step, parts(target))

    found = _read(run, read)
    data.start_prefetch()
    return TrainState(**found.pop("optimizer"), **found)


def _place(folder: Path) -> dict:
    """The position of the stream of batches.

    Each host that saved wrote its own file, and all the same: the number of batches, of each of
    which every host deals itself a part. So any number of hosts goes on from it.
    """
    found = [json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("process_*.json"))]
    if not found or any(place != found[0] for place in found):
        raise ValueError("its hosts are at different places in the data")
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
        check_digests(run, step, items)
        found = _items_of(checkpoints, step, items)
        return {part: weights for tree in found.values() for part, weights in tree.items()}

    return _read(run, read, which)


def averaged_parts(run: Path, which: int | None = None) -> frozenset[str]:
    """The names of the parts of which a checkpoint holds averages."""
    return _read(run, lambda saved, step: frozenset(_metadata(saved, step).get("ema") or {}), which)


def weight_shapes(run: Path, which: int | None = None) -> Params:
    """The shapes of all parts of params in a checkpoint of a run."""
    return _read(run, lambda saved, step: _as_shapes(_metadata(saved, step)["params"]), which)


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
    metadata, frozen = _metadata(checkpoints, step), flat(_frozen(checkpoints, step))
    for item, tree in target.items():
        there = metadata.get(item) or {}
        there = there if whole else {part: there[part] for part in tree if part in there}
        found, expected = named(there), named(tree)
        if item == "ema":  # of a part of which nothing changes
            found = {name: frozen[name] for name in expected if name in frozen} | found
        for name in sorted(found.keys() | expected.keys()):
            own, given = (x[name].shape if name in x else "absent" for x in (found, expected))
            if own != given:
                raise InputError(
                    f"checkpoint {step} of run '{run}' has another architecture: {item} {name} is "
                    f"{own} there and {given} here; "
                    "use the run's own config, or another --workdir"
                )


def _metadata(checkpoints: ocp.CheckpointManager, step: int) -> Mapping[str, Any]:
    """The metadata of a checkpoint, item by item, with what is frozen."""
    own, frozen = _own_metadata(checkpoints, step), _frozen(checkpoints, step)
    found = {**own, "params": merged(frozen, own["params"])}
    if ema := own.get("ema"):
        found["ema"] = merged({part: frozen[part] for part in ema if part in frozen}, ema)
    return found


def _frozen(checkpoints: ocp.CheckpointManager, step: int) -> Params:
    return frozen_metadata(Path(checkpoints.directory).parent, step)


def _own_metadata(checkpoints: ocp.CheckpointManager, step: int) -> Mapping[str, Any]:
    """The same without what is in RUN/frozen; older runs have all of it in their checkpoints."""
    folder = Path(checkpoints.directory) / str(step)
    found = once(folder, lambda: checkpoints.item_metadata(step))
    if not found.get("params"):
        raise ValueError("it has no params")
    return {item: dict(found[item]) for item in ITEMS if found.get(item)}


def _as_shapes(tree: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def _as_numpy(tree: Any) -> Any:
    return jax.tree.map(lambda x: ocp.RestoreArgs(restore_type=np.ndarray), tree)


def _items_of(
    checkpoints: ocp.CheckpointManager,
    step: int,
    target: Mapping[str, Any],
    arguments: Callable[[Any], Any] = ocp.checkpoint_utils.construct_restore_args,
) -> dict[str, Any]:
    """Items of a checkpoint; arrays of params that it does not hold are read from RUN/frozen.

    Args:
        target: their shapes, dtypes and shardings.
        arguments: of such a tree -> how each of its arrays is restored.
    """
    held, wanted, frozen = _own_metadata(checkpoints, step), {}, {}
    for item, tree in target.items():
        weights = item in ("params", "ema")
        if weights:
            frozen[item] = without(tree, flat(held.get(item, {})))
            tree = without(tree, flat(frozen[item]))
        if tree:  # Orbax restores nothing without arrays
            wanted[item] = ocp.args.PyTreeRestore(
                tree, restore_args=arguments(tree), partial_restore=weights
            )
    read = checkpoints.restore(step, args=ocp.args.Composite(**wanted)) if wanted else {}
    found, run = {**target, **{item: read[item] for item in wanted}}, Path(checkpoints.directory)
    for item, tree in frozen.items():
        rest = read_frozen(run.parent, step, tree, arguments)
        found[item] = merged(target[item], found[item], rest)
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
    # the items must be named, or Orbax guesses (and warns)
    handlers = {name: ocp.PyTreeCheckpointHandler() for name in ITEMS}
    try:
        opened = ocp.CheckpointManager(
            (run / "checkpoints").absolute(),
            options=ocp.CheckpointManagerOptions(create=False, read_only=True),
            item_handlers={**handlers, "data": grain.checkpoint.CheckpointHandler()},
        )
    except Exception as error:  # Orbax raises anything for damaged metadata of any of them
        raise InputError(
            f"checkpoints of run '{run}' cannot be read ({reason(error)}): expected whole ones; "
            "move the damaged one out of the folder"
        ) from error
    with opened as checkpoints:
        for step, older in zip(wanted, [*wanted[1:], None], strict=True):
            try:
                return read(checkpoints, step)
            except (InputError, MemoryError, jax.errors.JaxRuntimeError):
                raise  # not a fault of the checkpoint
            except Exception as error:  # Orbax raises anything for missing or damaged files
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
