"""Weights by name, from files and to files."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ldm_jax.convert.torch_file import read_torch, state_dict
from ldm_jax.errors import InputError


class Safetensors(Mapping[str, np.ndarray]):
    """A .safetensors file, open; an array is read when it is asked for, each time."""

    def __init__(self, path: Path):
        self._file = safe_open(path, framework="numpy")
        self._names = frozenset(self._file.keys())

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)


def read_weights(path: str | Path) -> Mapping[str, np.ndarray]:
    """The arrays in a .safetensors or PyTorch file, by name; which of them it is, is read from it.

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
        return state_dict(read_torch(path), path)
    try:
        return Safetensors(path)
    except SafetensorError as error:
        raise InputError(
            f"{path} is cut short or damaged ({error}): expected a whole .safetensors file; "
            "fetch or copy it again"
        ) from error


def write_weights(path: str | Path, weights: Mapping[str, np.ndarray]) -> None:
    """Writes a .safetensors file, whole or not at all."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode  # the package's own file is for its owner alone
        # the package writes an array's memory as it lies, whatever its strides
        save_file({name: np.asarray(w, order="C") for name, w in weights.items()}, partial)
        partial.chmod(mode)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
