"""PyTorch's checkpoints, written without PyTorch; the format is described in `torch_file.py`.

The pickle is written instruction by instruction, since a pickler would import what it names.
"""

import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any, BinaryIO

import numpy as np

from ldm_jax.weights.formats.torch_file import STORAGES
from ldm_jax.weights.table import Lazy

CLASSES = {dtype: storage for storage, dtype in STORAGES.items() if storage != "UntypedStorage"}
TIME = (1980, 1, 1, 0, 0, 0)  # the same file of the same weights


def write_torch(
    file: BinaryIO, weights: Mapping[str, np.ndarray], forms: Mapping[str, np.ndarray]
) -> None:
    """A zip with {"state_dict": weights}, each asked for when it is written, as torch.save does.

    Args:
        forms: arrays of the same types and shapes.
    """
    names, numbers = sorted(weights), count()
    tree = {"state_dict": Lazy(names, forms.__getitem__)}
    pickled = _pickle(tree, lambda array: next(numbers))
    _write(file, pickled, (weights[name] for name in names))


def write_tree(file: BinaryIO, tree: Any) -> None:
    """A zip with a tree of dicts, tuples, arrays, texts, whole numbers and None, as torch has."""
    arrays: list[np.ndarray] = []

    def number(array: np.ndarray) -> int:
        arrays.append(array)
        return len(arrays) - 1

    _write(file, _pickle(tree, number), arrays)


def _write(file: BinaryIO, pickled: bytes, arrays: Iterable[np.ndarray]) -> None:
    """The zip of a pickle and the arrays in it, in the order of their numbers."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        def member(name: str) -> zipfile.ZipInfo:
            return zipfile.ZipInfo(f"archive/{name}", TIME)

        archive.writestr(member("data.pkl"), pickled)
        archive.writestr(member("byteorder"), "little")
        for number, array in enumerate(arrays):
            with archive.open(member(f"data/{number}"), "w", force_zip64=True) as storage:
                storage.write(content(array))
        archive.writestr(member("version"), "3\n")


def content(array: np.ndarray) -> np.ndarray:
    """The bytes of an array, little-endian, row by row."""
    array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    return array.reshape(-1).view(np.uint8)


def _pickle(tree: Any, number: Callable[[np.ndarray], int]) -> bytes:
    """Protocol 2; `number` counts the arrays."""

    def node(x: Any) -> bytes:
        if isinstance(x, Mapping):
            return b"}(" + b"".join(_string(name) + node(x[name]) for name in x) + b"u"
        if isinstance(x, tuple):
            return b"(" + b"".join(map(node, x)) + b"t"
        if isinstance(x, str):
            return _string(x)
        if isinstance(x, int):
            return _integer(x)
        return b"N" if x is None else _tensor(number(x), x)

    return b"\x80\x02" + node(tree) + b"."


def _tensor(number: int, array: np.ndarray) -> bytes:
    """torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)."""
    size = array.size
    kind = _name("torch", CLASSES[array.dtype.name])
    saved = [_string("storage"), kind, _string(str(number)), _string("cpu"), _integer(size)]
    strides = [int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim)]
    arguments = [
        _tuple(saved) + b"Q",  # what lies outside of the pickle
        _integer(0),
        _tuple(map(_integer, array.shape)),
        _tuple(map(_integer, strides)),
        b"\x89",
        _name("collections", "OrderedDict") + b")R",
    ]
    return _name("torch._utils", "_rebuild_tensor_v2") + _tuple(arguments) + b"R"


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _tuple(parts) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def _string(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _integer(number: int) -> bytes:
    digits = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(digits)]) + digits
