"""Tables of names: each parameter's name in another implementation.

A network is a table with a row for each of its parameters: its path, its key in the original (three
for q, k and v where they are fused here), the shape in the original, and the change of layout. The
tables follow from the config alone, so every key of a state dict is accounted for in both
directions before a weight is moved: `mismatches` names those missing, unexpected or misshapen.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ldm_jax.errors import InputError

Shape = tuple[int, ...]
State = Mapping[str, np.ndarray]  # original key -> weight; may be read lazily
MOST_NAMED = 6  # causes of a kind in a message
# what files hold that is a weight of no network: counters, tables, temperatures, and marks of what
# a model predicts or how its weights are scaled
MARKERS = re.compile(
    r"(.*\.)?(num_batches_tracked|position_ids|attn_mask|logit_(scale|bias))"
    r"|scaled_fp8|v_pred|ztsnr|edm_\w+(\.sigma_(min|max))?|denoiser\.(log_)?sigmas|iteration|global_step"
)


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
FLAT = Layout(lambda w: np.reshape(w, -1), lambda w, shape: np.reshape(w, shape))


class Lazy(Mapping[str, np.ndarray]):
    """Weights by name, each made when it is asked for."""

    def __init__(self, names: Iterable[str], read: Callable[[str], np.ndarray]):
        self._names, self._read = dict.fromkeys(names), read

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


def renamed(state: State, names: Mapping[str, str]) -> Lazy:
    """Some of the weights of a state dict; names: our name of a weight -> its key in `state`."""
    return Lazy(names, lambda name: state[names[name]])


class Row(NamedTuple):
    """One of our parameters; several original keys are joined along its last axis."""

    path: str  # slashes between the levels of the tree
    keys: tuple[str, ...]
    shape: Shape  # of each original weight
    layout: Layout
    # in how many groups of the last axis the keys are joined: the heads, where each has its own q,
    # k and v side by side
    groups: int = 1


Table = list[Row]


def join(parts: list[np.ndarray], groups: int = 1) -> np.ndarray:
    """Weights [..., n] side by side in each of the groups of n, [..., len(parts) n]."""
    if len(parts) == 1:
        return parts[0]
    each = [x.reshape(*x.shape[:-1], groups, -1) for x in parts]
    return np.concatenate(each, axis=-1).reshape(*parts[0].shape[:-1], -1)


def split(joined: np.ndarray, count: int, groups: int = 1) -> list[np.ndarray]:
    """The inverse of `join`."""
    whole = np.asarray(joined)
    each = np.split(whole.reshape(*whole.shape[:-1], groups, -1), count, axis=-1)
    return [x.reshape(*whole.shape[:-1], -1) for x in each]


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


def count(table: Table) -> int:
    """Values of all weights."""
    return sum(len(row.keys) * math.prod(row.shape) for row in table)


def shapes_of(state: State) -> dict[str, Shape]:
    """Key -> shape of the weights that there are."""
    return {key: np.shape(state[key]) for key in state}


def mismatches(
    table: Table, found: Mapping[str, Shape], unused: Collection[str] = (), prefix: str = ""
) -> list[str]:
    """What prevents a state dict with these shapes from fitting the network, one entry a cause.

    Args:
        unused: original keys that this network does not use, besides MARKERS.
        prefix: of keys, in what is returned.
    """
    wanted = shapes(table)
    missing = wanted.keys() - found.keys()
    more = {key for key in found.keys() - wanted.keys() - set(unused) if not MARKERS.fullmatch(key)}
    absent = [
        f"{prefix}{name} is missing: expected " + (f"{n} weights" if n else f"shape {wanted[name]}")
        for name, n in _branches(missing, wanted.keys() - missing)
    ]
    unexpected = [
        f"{prefix}{name} is unexpected: no parameter takes these {n} weights"
        if n
        else f"{prefix}{name} {tuple(found[name])} is unexpected: no parameter takes it"
        for name, n in _branches(more, wanted)
    ]
    others: dict[tuple[Shape, Shape], list[str]] = {}
    for key in sorted(wanted.keys() & found.keys()):
        if _without_ones(found[key]) != _without_ones(wanted[key]):
            others.setdefault((tuple(found[key]), wanted[key]), []).append(key)
    misshapen = [
        f"{prefix}{key} has shape {there}: expected {here}"
        + (f", and so have {len(also)} more" if also else "")
        for (there, here), (key, *also) in others.items()
    ]
    kinds = {"missing": absent, "unexpected": unexpected, "misshapen": misshapen}
    return [line for kind, lines in kinds.items() for line in some(lines, kind)]


def some(entries: list[str], what: str) -> list[str]:
    """As many entries as are read in a message, and how many more there are."""
    more = len(entries) - MOST_NAMED
    return [*entries[:MOST_NAMED], f"and {more} more {what}"] if more > 0 else entries


def _without_ones(shape: Shape) -> Shape:
    """Of a linear layer, which others write as a 1x1 convolution: the same."""
    shape = tuple(shape)
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _branches(keys: Collection[str], others: Collection[str]) -> Iterator[tuple[str, int]]:
    """Keys by the shortest prefixes that none of the others has, as PREFIX.* with their number, or
    by themselves, with 0."""
    taken = {part for key in others for part in _prefixes(key)}
    found: dict[str, list[str]] = {}
    for key in sorted(keys):
        free = (part for part in _prefixes(key) if part not in taken)
        found.setdefault(next(free, key), []).append(key)
    for part, held in found.items():
        yield (f"{part}*", len(held)) if len(held) > 1 else (held[0], 0)


def _prefixes(key: str) -> Iterator[str]:
    """a., a.b. of a.b.c"""
    return (key[: found.end()] for found in re.finditer(r"\.", key))


def refuse(wrong: list[str], title: str) -> None:
    """Raises InputError with a title where something is wrong."""
    if wrong:
        raise InputError(f"{title}: {'; '.join(wrong)}")


def to_here(
    table: Table,
    state: State,
    unused: Collection[str] = (),
    title: str = "these weights are not of this network",
) -> dict:
    """Our parameters from an original state dict, as a nested dict.

    Raises:
        InputError: a key is missing, unexpected or misshapen, or see `rearranged`.
    """
    refuse(mismatches(table, shapes_of(state), unused), title)
    return rearranged(table, state)


def rearranged(table: Table, state: State) -> dict:
    """The same for a state dict that is known to fit; it may contain more.

    All become float32. Those that are, and are not joined, are views of those in `state`.

    Raises:
        InputError: weights are no numbers with fractions, or not finite.
    """
    flat = {}
    for row in table:
        weights = [float32(state[key], key).reshape(row.shape) for key in row.keys]
        parts = [row.layout.to_here(weight) for weight in weights]
        flat[row.path] = join(parts, row.groups)
    return nested(flat)


def float32(weight: np.ndarray, key: str) -> np.ndarray:
    """A weight in float32; InputError where it is none."""
    weight = np.asarray(weight)
    if not jnp.issubdtype(weight.dtype, jnp.floating):
        raise InputError(f"{key} is of {weight.dtype}: expected float32, float16 or bfloat16")
    wide = np.asarray(weight, np.float32)
    finite = np.isfinite(wide)
    if not finite.all():
        count = wide.size - finite.sum()
        raise InputError(
            f"{key} has {count} of {wide.size} values that are NaN or infinite: expected finite "
            "ones; the file is damaged, or its training diverged"
        )
    return wide


def to_original(table: Table, params: Mapping) -> dict[str, np.ndarray]:
    """The original state dict of our parameters, the inverse of `to_here`."""
    state, flat = {}, flattened(params)
    for row in table:
        parts = split(flat[row.path], len(row.keys), row.groups)
        state |= {
            key: row.layout.to_original(part, row.shape)
            for key, part in zip(row.keys, parts, strict=True)
        }
    return state
