"""Tables of names: each parameter's name in another implementation.

A network is a table with a row for each of its parameters: its path, its key in the original (three
for q, k and v where they are fused here), the shape in the original, and the change of layout. The
tables follow from the config alone, so every key of a state dict is accounted for in both
directions before a weight is moved: `mismatches` names those missing, unexpected or misshapen.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ldm_jax.errors import InputError

Shape = tuple[int, ...]
State = Mapping[str, np.ndarray]  # original key -> weight; may be read lazily


class Layout(NamedTuple):
    """The layout of a weight in both implementations."""

    to_here: Callable[[np.ndarray], np.ndarray]
    to_original: Callable[[np.ndarray, Shape], np.ndarray]  # (our weight, original shape)


SAME = Layout(lambda w: w, lambda w, shape: w)
CONV = Layout(  # OIHW and HWIO
    lambda w: np.transpose(w, (2, 3, 1, 0)), lambda w, shape: np.transpose(w, (3, 2, 0, 1))
)
DENSE = Layout(  # [O, I], or [O, I, 1 ...] where the original has a 1x1 convolution; ours: [I, O]
    lambda w: np.reshape(w, w.shape[:2]).T, lambda w, shape: np.reshape(w.T, shape)
)


class Renamed(Mapping[str, np.ndarray]):
    """Some of the weights of a state dict under other names, read lazily."""

    def __init__(self, state: State, names: Mapping[str, str]):
        """names: our name of a weight -> its key in `state`."""
        self._state, self._names = state, names

    def __getitem__(self, name: str) -> np.ndarray:
        return self._state[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Row(NamedTuple):
    """One of our parameters; several original keys are joined along its last axis."""

    path: str  # slashes between the levels of the tree
    keys: tuple[str, ...]
    shape: Shape  # of each original weight
    layout: Layout


Table = list[Row]


def under(table: Table, here: str = "", there: str = "") -> Table:
    """The table with prefixes on our and the original names."""
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
    """Original key -> shape."""
    return {key: row.shape for row in table for key in row.keys}


def mismatches(table: Table, found: Mapping[str, Shape], unused: tuple[str, ...] = ()) -> list[str]:
    """What prevents a state dict with these shapes from fitting the network, a line a key.

    Args:
        unused: original keys that this network does not use.
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
    """Our parameters from an original state dict, as a nested dict.

    Raises:
        InputError: a key is missing, unexpected or misshapen; the message names all of them.
    """
    wrong = mismatches(table, {key: np.shape(state[key]) for key in state}, unused)
    if wrong:
        raise InputError("these weights are not of this network:\n" + "\n".join(wrong))
    return rearranged(table, state)


def rearranged(table: Table, state: State) -> dict:
    """The same for a state dict that is known to fit; it may contain more.

    Weights that are not joined are views of those in `state`.
    """
    flat = {}
    for row in table:
        parts = [row.layout.to_here(np.asarray(state[key])) for key in row.keys]
        flat[row.path] = np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    return nested(flat)


def to_original(table: Table, params: Mapping) -> dict[str, np.ndarray]:
    """The original state dict of our parameters, the inverse of `to_here`."""
    state, flat = {}, flattened(params)
    for row in table:
        parts = np.split(np.asarray(flat[row.path]), len(row.keys), axis=-1)
        state |= {
            key: row.layout.to_original(part, row.shape)
            for key, part in zip(row.keys, parts, strict=True)
        }
    return state
