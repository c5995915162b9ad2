"""Weights that training does not change: RUN/frozen, written once, before the first step.

These are whole parts, and the arrays of trained parts that optim.train_only leaves.

The digests of a checkpoint name those of RUN/frozen, so that no other weights are taken for them.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from ldm_jax.checkpoint.digests import (
    FROZEN,
    check_digests,
    check_frozen_digests,
    forget_digests,
    has_digests,
    write_digests,
)
from ldm_jax.checkpoint.folder import flat, once
from ldm_jax.checkpoint.saving import stopping
from ldm_jax.errors import InputError, reason
from ldm_jax.types import Params


def save_frozen(run: Path, params: Params) -> None:
    """Writes the frozen parts of a run that has no checkpoint yet; every host calls it.

    RUN/frozen is whole or absent. What a start that was killed left is replaced.
    """
    if not jax.tree.leaves(params):
        return
    first = jax.process_index() == 0
    if first:
        forget_digests(run, FROZEN)
    with stopping(run, FROZEN), ocp.StandardCheckpointer() as writer:
        writer.save(_folder(run), params, force=True)
        writer.wait_until_finished()
    if first:
        with contextlib.suppress(OSError):
            write_digests(run, FROZEN)


def keep_frozen(run: Path, params: Params) -> None:
    """The same for a run that goes on: writes only what is not there.

    Checkpoints of older runs hold all parts; from here on they are in RUN/frozen.

    Raises:
        InputError: RUN/frozen has not all of these parts.
    """
    if not _folder(run).is_dir():
        save_frozen(run, params)
        return
    there = frozen_metadata(run)
    lacking = sorted(part for part in params if jax.tree.leaves(params[part]) and part not in there)
    if lacking:
        raise InputError(f"'{run / FROZEN}' has no {', '.join(lacking)}: expected all frozen parts")
    if jax.process_index() == 0 and not has_digests(run, FROZEN):
        write_digests(run, FROZEN)


def frozen_names(run: Path) -> Iterable[str]:
    """The names of the arrays in RUN/frozen."""
    return flat(frozen_metadata(run)).keys()


def frozen_metadata(run: Path, step: int | None = None) -> Params:
    """The metadata of RUN/frozen; {} where a run has none.

    Raises:
        InputError: it cannot be read, or is missing though checkpoint `step` needs it.
    """
    with _reading(run):
        if not _folder(run).is_dir():
            if step is not None and has_digests(run, step, FROZEN):
                raise FileNotFoundError("it is missing")
            return {}
        return once(_folder(run), lambda: _metadata(run))


def _metadata(run: Path) -> Params:
    with ocp.PyTreeCheckpointer() as reader:
        found = reader.metadata(_folder(run)).item_metadata
    if found is None:
        check_digests(run, FROZEN, (FROZEN,))
        raise ValueError("its metadata are damaged")
    return dict(found.tree)


def read_frozen(run: Path, step: int, target: Params, arguments: Callable[[Any], Any]) -> Params:
    """Frozen parts of the run of checkpoint `step`.

    Args:
        target: their shapes.
        arguments: shapes -> how each is restored.

    Raises:
        InputError: they cannot be read, or are not those that this run wrote.
    """
    tree = {name: part for name, part in target.items() if jax.tree.leaves(part)}
    if not tree:
        return target
    with _reading(run), ocp.PyTreeCheckpointer() as reader:
        check_frozen_digests(run, step)
        wanted = ocp.args.PyTreeRestore(tree, restore_args=arguments(tree), partial_restore=True)
        return {**target, **reader.restore(_folder(run), args=wanted)}


@contextlib.contextmanager
def _reading(run: Path) -> Iterator[None]:
    """Whatever keeps frozen weights from being read, in one line."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError):
        raise  # not a fault of the files
    except Exception as error:  # Orbax raises anything for files that are missing or damaged
        raise InputError(
            f"'{run / FROZEN}', the weights that training does not change, cannot be read "
            f"({reason(error)}): expected the folder as training wrote it; put a copy of it back"
        ) from error


def _folder(run: Path) -> Path:
    return (run / FROZEN).absolute()
