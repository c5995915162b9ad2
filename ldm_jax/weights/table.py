"""Tables of names: what each parameter here is called in another implementation.

A network is a table with a row for each parameter here: its path, the key there (three for q, k
and v where they are fused here), their shape there, and how one layout becomes the other. The
tables are written from the config alone, so every key of a state dict is accounted for both ways
before a single weight is moved: `mismatches` names those missing, unexpected or misshapen.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ldm_jax.errors import InputError

Shape = tuple[int, ...]
State = Mapping[str, np.ndarray]  # key there -> weight; may read its weights when asked


class Layout(NamedTuple):
    """How one weight is laid out on either side."""

    to_here: Callable[[np.ndarray], np.ndarray]
    to_original: Callable[[np.ndarray, Shape], np.ndarray]  # (weight here, shape there)


SAME = Layout(lambda w: w, lambda w, shape: w)
CONV = Layout(  # OIHW and HWIO
    lambda w: np.transpose(w, (2, 3, 1, 0)), lambda w, shape: np.transpose(w, (3, 2, 0, 1))
)
DENSE = Layout(  # [O, I], or [O, I, 1 ...] where the original wrote a 1x1 convolution; [I, O] here
    lambda w: np.reshape(w, w.shape[:2]).T, lambda w, shape: np.reshape(w.T, shape)
)


class Renamed(Mapping[str, np.ndarray]):
    """Some of the weights of a state dict under other names, read when asked for."""

    def __init__(self, state: State, names: Mapping[str, str]):
        """names: a weight's name here -> its key in `state`."""
        self._state, self._names = state, names

    def __getitem__(self, name: str) -> np.ndarray:
        return self._state[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Row(NamedTuple):
    """One parameter here; several keys there are laid side by side along its last axis."""

    path: str  # slashes between the levels of the tree
    keys: tuple[str, ...]
    shape: Shape  # of the weight behind each key, there
    layout: Layout


Table = list[Row]


def under(table: Table, here: str = "", there: str = "") -> Table:
    """The table with prefixes on either side."""
    return [
        row._replace(path=here + row.path, keys=tuple(there + k for k in row.keys)) for row in table
    ]


def nested(flat: Mapping[str, np.ndarray]) -> dict:
    """A tree from paths with slashes."""
    tree: dict = {}
    for path, leaf in flat.items():
        *branch, name = path.split("/")
        node = tree
        for part in branch:
            node = node.setdefault(part, {})
        node[name] = leaf
    return tree


def flattened(tree: Mapping, prefix: str = "") -> dict[str, np.ndarray]:
    """The paths of a tree, with slashes."""
    flat = {}
    for name, node in tree.items():
        if isinstance(node, Mapping):
            flat |= flattened(node, f"{prefix}{name}/")
        else:
            flat[prefix + name] = node
    return flat


def shapes(table: Table) -> dict[str, Shape]:
    """Key there -> shape."""
    return {key: row.shape for row in table for key in row.keys}


def mismatches(table: Table, found: Mapping[str, Shape], unused: tuple[str, ...] = ()) -> list[str]:
    """What keeps a state dict with these shapes from being this network, a line a key.

    Args:
        unused: keys that the original holds and this network has no use for.
    """
    wanted = shapes(table)

    def lines() -> Iterator[str]:
        for key in sorted(wanted.keys() - found.keys()):
            yield f"{key} is missing: expected shape {wanted[key]}"
        for key in sorted(found.keys() - wanted.keys() - set(unused)):
            yield f"{key} {tuple(found[key])} is unexpected: no parameter takes it"
        for key in sorted(wanted.keys() & found.keys()):
            if tuple(found[key]) != wanted[key]:
                yield f"{key} has shape {tuple(found[key])}: expected {wanted[key]}"

    return list(lines())


def to_here(table: Table, state: State, unused: tuple[str, ...] = ()) -> dict:
    """The parameters that a state dict of the original stands for, as a nested dict.

    Raises:
        InputError: a key is missing, unexpected or misshapen; the message names all of them.
    """
    wrong = mismatches(table, {key: np.shape(state[key]) for key in state}, unused)
    if wrong:
        raise InputError("these weights are not of this network:\n" + "\n".join(wrong))
    return rearranged(table, state)


def rearranged(table: Table, state: State) -> dict:
    """The same of a state dict that is known to fit; it may hold more.

    Weights that need no joining are views of those in `state`.
    """
    flat = {}
    for row in table:
        parts = [row.layout.to_here(np.asarray(state[key])) for key in row.keys]
        flat[row.path] = np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    return nested(flat)


def to_original(table: Table, params: Mapping) -> dict[str, np.ndarray]:
    """The state dict of the original that these parameters stand for: the way back."""
    state, flat = {}, flattened(params)
    for row in table:
        parts = np.split(np.asarray(flat[row.path]), len(row.keys), axis=-1)
        state |= {
            key: row.layout.to_original(part, row.shape)
            for key, part in zip(row.keys, parts, strict=True)
        }
    return state
