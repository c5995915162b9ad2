"""Weights by name, from files and to files."""

import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from ldm_jax.errors import InputError
from ldm_jax.runtime.files import whole
from ldm_jax.weights.formats.plain import Plain, plain
from ldm_jax.weights.formats.torch_file import read_torch, state_dict
from ldm_jax.weights.formats.torch_writer import content, write_torch
from ldm_jax.weights.table import Lazy, State

DTYPES = {  # of numpy -> of .safetensors
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
NUMPY = {theirs: np.dtype(ours) for ours, theirs in DTYPES.items()}


def read_weights(path: str | Path) -> Plain:
    """The arrays in a .safetensors or PyTorch file by their plain names (`plain.py`); which kind of
    file it is, is read from it.

    An array's bytes are read when it is used, so the file may be larger than the memory.

    Raises:
        InputError: the file is missing, of another kind, cut short, damaged or without weights.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path} is no file: expected weights (.safetensors, .pth, .pt, .ckpt or .bin)"
        )
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] != b"{":  # the header of .safetensors: its length in 8 bytes, then JSON
        tree = read_torch(path)
        words = tree.items() if isinstance(tree, dict) else ()
        own = {str(name): word for name, word in words if isinstance(word, str)}
        return plain(*state_dict(tree, path), own)
    try:
        return plain(*_read_safetensors(path))
    except SafetensorError as error:
        raise InputError(
            f"{path} is cut short or damaged ({error}): expected a whole .safetensors file; "
            "fetch or copy it again"
        ) from error


def _read_safetensors(path: Path) -> tuple[State, tuple[str, ...], dict[str, str]]:
    """The weights, views of the file; nothing to say of them; what the file says of itself."""
    with safe_open(path, framework="numpy"):
        pass  # or else it is damaged
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(size))
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[8 + size :]
    metadata = entries.pop("__metadata__", {})

    def array(name: str) -> np.ndarray:
        entry = entries[name]
        start, end = entry["data_offsets"]
        if entry["dtype"] not in NUMPY:
            raise InputError(f"{name} is of {entry['dtype']}: expected one of {', '.join(NUMPY)}")
        return np.frombuffer(data[start:end], NUMPY[entry["dtype"]]).reshape(entry["shape"])

    return Lazy(sorted(entries), array), (), metadata


def write_weights(
    path: str | Path,
    weights: Mapping[str, np.ndarray],
    forms: Mapping[str, np.ndarray] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a .safetensors file, or one as PyTorch's by its ending, whole or not at all.

    Weights are asked for one after the other, in the order of their names, as they are written.

    Args:
        forms: arrays of the same types and shapes, which are asked for first; None: the weights.
        metadata: what the file says of itself, of a .safetensors file alone.
    """
    path = Path(path)
    with whole(path) as unfinished, unfinished.open("wb") as file:
        if path.suffix == ".safetensors":
            write_safetensors(file, weights, forms or weights, metadata)
        else:
            write_torch(file, weights, forms or weights)


def write_safetensors(
    file: BinaryIO,
    weights: Mapping[str, np.ndarray],
    forms: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Length of the header in 8 bytes, the header in JSON, and each array's bytes as it says.

    Wider numbers come first, so that every array lies at a multiple of its number's width.
    """

    def order(name: str) -> tuple[int, str]:
        return -forms[name].dtype.itemsize, name

    header, end = {"__metadata__": dict(metadata)} if metadata else {}, 0
    for name in sorted(weights, key=order):
        array = forms[name]
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    words = json.dumps(header, separators=(",", ":")).encode()
    words += b" " * (-len(words) % 8)
    file.write(len(words).to_bytes(8, "little") + words)
    for name in sorted(weights, key=order):
        file.write(content(weights[name]))
