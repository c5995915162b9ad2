"""Several hosts as one run: the same program is started on each, and they connect here."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from ldm_jax.errors import InputError

BY_HAND = ("--coordinator", "--num-processes", "--process-id")


def connect(
    detect: bool,
    coordinator: str | None = None,
    count: str | int | None = None,
    index: str | int | None = None,
) -> None:
    """Waits for the other processes, if there are any; has to precede any computation.

    Arguments that are not given are detected by JAX: SLURM, Open MPI, Kubernetes, a TPU pod. Only
    the first process writes shared files and prints to standard output.

    Args:
        detect: whether to look for others though nothing else is given.
        coordinator: HOST:PORT of the process with index 0, to which all connect.
        count: number of processes.
        index: of this process, 0 ... count - 1.

    Raises:
        InputError: an argument is missing or no number, or the others do not connect.
    """
    given = dict(zip(BY_HAND, (coordinator, count, index), strict=True))
    if not detect and not any(x is not None for x in given.values()):
        return
    if coordinator is not None and not coordinator.rpartition(":")[2].isdecimal():
        raise InputError(f"--coordinator is '{coordinator}': expected HOST:PORT")
    count, index = (_number(name, given[name]) for name in BY_HAND[1:])
    if count is not None and index is not None and not 0 <= index < count:
        raise InputError(f"--process-id is {index}: expected 0 to {count - 1}, one a process")
    try:
        jax.distributed.initialize(coordinator, count, index)
    except ValueError as error:  # names the missing one of the three
        raise InputError(
            "the processes of this run cannot be known: found neither SLURM, Open MPI, Kubernetes "
            f"nor a TPU pod; give {', '.join(BY_HAND)} to each (docs/scale.md)"
        ) from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the other processes did not connect ({reason}); start all of them"
        ) from (error)
    if jax.process_index():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _number(name: str, value: str | int | None) -> int | None:
    if value is not None and not str(value).isdecimal():
        raise InputError(f"{name} is '{value}': expected a whole number")
    return None if value is None else int(value)


@contextlib.contextmanager
def first_before_others() -> Iterator[None]:
    """A context that the first process completes before the others begin.

    For preparing files that all of them share. An error in the first does not stop the others.
    """
    if jax.process_count() > 1 and not is_first():
        multihost_utils.sync_global_devices("the first is done")
    try:
        yield
    finally:
        if jax.process_count() > 1 and is_first():
            multihost_utils.sync_global_devices("the first is done")


@contextlib.contextmanager
def agreement() -> Iterator[dict[str, Any]]:
    """A context in which each process notes facts by their names, which all of them must share.

    It ends in all processes together. Where one raises InputError, all do.

    Raises:
        InputError: a process has another fact than the first; names both, and the fact.
    """
    facts, error = {}, None
    try:
        yield facts
    except InputError as raised:
        error = raised
    found = _from_all({name: _in_short(value) for name, value in facts.items()}, error)
    if error:
        raise error
    for i, (failed, theirs) in enumerate(found):
        if failed:
            raise InputError(f"process {i} of {len(found)} stops: {failed}")
        for name, own in found[0][1].items():
            if theirs.get(name) != own:
                raise InputError(
                    f"process {i} of {len(found)} has {name} {theirs.get(name)}, and process 0 has "
                    f"{own}: expected the same in all; start each with the same command, config "
                    "and data"
                )


def _in_short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:60]}... (digest {digest(text)})"


def digest(text: str) -> str:
    """By which a long text is recognised."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _from_all(facts: dict[str, str], error: Exception | None) -> list[tuple[str | None, dict]]:
    """What stopped each process, None where nothing did, and its facts."""
    own = (str(error) if error else None, facts)
    if jax.process_count() == 1:
        return [own]
    text = np.frombuffer(json.dumps(own).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([len(text)]))
    padded = np.pad(text, (0, int(sizes.max()) - len(text)))
    rows = multihost_utils.process_allgather(padded)
    return [json.loads(bytes(row[: int(n)])) for row, n in zip(rows, sizes.ravel(), strict=True)]


def all_agree(value: bool) -> bool:
    """Whether `value` holds in all processes; all of them must call this."""
    if jax.process_count() == 1:
        return value
    return bool(np.all(multihost_utils.process_allgather(np.array(value))))


def as_the_first(numbers: dict[str, float]) -> dict[str, float]:
    """The first process's numbers, bit for bit; all of them must call this.

    For decisions by values that all compute: processors may differ in their rounding.
    """
    if jax.process_count() == 1:
        return numbers
    bits = np.array(list(numbers.values()), np.float64).view(np.uint32)  # JAX has no float64 here
    first = np.asarray(multihost_utils.broadcast_one_to_all(bits)).view(np.float64)
    return dict(zip(numbers, first.tolist(), strict=True))


def is_first() -> bool:
    """Whether this is the process that writes shared files."""
    return jax.process_index() == 0
