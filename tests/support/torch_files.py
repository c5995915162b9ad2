"""PyTorch's two file formats, written without PyTorch: the pickle byte by byte, protocol 2."""

import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
# magic number, version of the format, system
LEGACY_HEAD = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})


class Global(NamedTuple):
    """Something that is imported."""

    module: str
    name: str


class Call(NamedTuple):
    """What a call returns."""

    function: Any
    arguments: tuple


class Built(NamedTuple):
    """An object that is given a state afterwards."""

    made: Any
    state: Any


class Stored(NamedTuple):
    """A storage, which lies outside of the pickle."""

    array: np.ndarray  # [n]


class View(NamedTuple):
    """A tensor: a storage [n] from `offset` on, with a shape and strides in elements."""

    storage: np.ndarray
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0


def contiguous(array) -> View:
    """An array as a tensor with a storage of its own."""
    array = np.array(array, order="C")
    return View(array.reshape(-1), array.shape, tuple(n // array.itemsize for n in array.strides))


class _Pickle:
    """Writes trees; collects their storages."""

    def __init__(self, legacy: bool = False):
        self.legacy, self.storages = legacy, []

    def dumps(self, tree) -> bytes:
        return b"\x80\x02" + self._bytes(tree) + b"."

    def _bytes(self, node) -> bytes:
        match node:
            case None | True | False:
                return {None: b"N", True: b"\x88", False: b"\x89"}[node]
            case int():
                digits = node.to_bytes(node.bit_length() // 8 + 1, "little", signed=True)
                return b"\x8a" + bytes([len(digits)]) + digits
            case float():
                return b"G" + struct.pack(">d", node)
            case str():
                return b"X" + struct.pack("<I", len(node.encode())) + node.encode()
            case Global(module, name):
                return f"c{module}\n{name}\n".encode()
            case Call(function, arguments):
                return self._bytes(function) + self._bytes(arguments) + b"R"
            case Built(made, state):
                return self._bytes(made) + self._bytes(state) + b"b"
            case Stored(array):
                return self._bytes(self._storage(array)) + b"Q"
            case View(storage, shape, strides, offset):
                rebuild = Global("torch._utils", "_rebuild_tensor_v2")
                hooks = Call(Global("collections", "OrderedDict"), ())
                arguments = (Stored(storage), offset, shape, strides, False, hooks)
                return self._bytes(Call(rebuild, arguments))
            case np.ndarray():
                return self._bytes(contiguous(node))
            case dict():
                pairs = (self._bytes(part) for pair in node.items() for part in pair)
                return b"}(" + b"".join(pairs) + b"u"
            case list():
                return b"](" + b"".join(map(self._bytes, node)) + b"e"
            case tuple():
                return b"(" + b"".join(map(self._bytes, node)) + b"t"

    def _storage(self, array: np.ndarray) -> tuple:
        if not any(array is known for known in self.storages):
            self.storages.append(array)
        key = str([array is known for known in self.storages].index(True))
        kind = Global("torch", STORAGES[array.dtype.name])
        return ("storage", kind, key, "cuda:0", array.size) + (None,) * self.legacy


def write_zip(path: Path, tree, compression=zipfile.ZIP_STORED) -> Path:
    """As torch.save writes since 1.6."""
    pickle = _Pickle()
    pickled = pickle.dumps(tree)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for key, array in enumerate(pickle.storages):
            archive.writestr(f"archive/data/{key}", array.tobytes())
    return path


def write_legacy(path: Path, tree) -> Path:
    """As torch.save wrote before."""
    pickle = _Pickle(legacy=True)
    parts = [_Pickle().dumps(part) for part in LEGACY_HEAD] + [pickle.dumps(tree)]
    parts.append(_Pickle().dumps([str(key) for key in range(len(pickle.storages))]))
    parts += [struct.pack("<q", array.size) + array.tobytes() for array in pickle.storages]
    path.write_bytes(b"".join(parts))
    return path


WRITERS = {"zip": write_zip, "legacy": write_legacy}
