"""PyTorch's checkpoints, written without PyTorch; the format is described in `torch_file.py`.

The pickle is written instruction by instruction, since a pickler would import what it names.
"""

import struct
import zipfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np

from ldm_jax.weights.formats.torch_file import STORAGES

CLASSES = {dtype: storage for storage, dtype in STORAGES.items() if storage != "UntypedStorage"}
TIME = (1980, 1, 1, 0, 0, 0)  # the same file of the same weights


def write_torch(
    file: BinaryIO, weights: Mapping[str, np.ndarray], forms: Mapping[str, np.ndarray]
) -> None:
    """A zip with {"state_dict": weights}, each asked for when it is written, as torch.save does.

    Args:
        forms: arrays of the same types and shapes.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        def member(name: str) -> zipfile.ZipInfo:
            return zipfile.ZipInfo(f"archive/{name}", TIME)

        archive.writestr(member("data.pkl"), b"".join(_pickle(forms)))
        archive.writestr(member("byteorder"), "little")
        for number, name in enumerate(sorted(weights)):
            with archive.open(member(f"data/{number}"), "w", force_zip64=True) as storage:
                storage.write(content(weights[name]))
        archive.writestr(member("version"), "3\n")


def content(array: np.ndarray) -> np.ndarray:
    """The bytes of an array, little-endian, row by row."""
    array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    return array.reshape(-1).view(np.uint8)


def _pickle(weights: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    """Protocol 2: {"state_dict": {name: tensor}}."""
    yield b"\x80\x02}" + _string("state_dict") + b"}("
    for number, name in enumerate(sorted(weights)):
        yield _string(name) + _tensor(number, weights[name])
    yield b"us."


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
