"""Statistics of features in files, compatible with other evaluators.

pytorch-fid and clean-fid save `mu` [d] and `sigma` [d, d] in an .npz, guided diffusion (ADM) also
`mu_s` and `sigma_s` of sFID's features. Files written by this module also name their origin, which
the other evaluators ignore.
"""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ldm_jax.errors import InputError, reading
from ldm_jax.metrics.statistics import Moments, check_moments
from ldm_jax.runtime.files import whole

KEYS = {"pool": ("mu", "sigma"), "spatial": ("mu_s", "sigma_s")}
METADATA = ("extractor", "sha256", "resize", "count", "reference")  # not in others' files


class Saved(NamedTuple):
    """Moments by the name of their features, and the file's metadata."""

    moments: dict[str, Moments]
    metadata: dict[str, Any]


def names_in(path: str | Path) -> list[str]:
    """The names of the arrays in an .npz."""
    return list(_arrays(path, ()))


def _arrays(path: str | Path, wanted: Container[str]) -> dict[str, np.ndarray | None]:
    """All arrays of an .npz by name; those that are not wanted are not read."""
    expected = "an .npz of images or statistics; copy or write it again"
    with reading(f"'{path}'", expected), np.load(path, allow_pickle=False) as file:
        found = {name: file[name] if name in wanted else None for name in file.files}
        for name, array in found.items():
            if isinstance(array, bytes):  # of a member without the head of an array
                raise ValueError(f"{name} is no array")
        return found


def read_statistics(path: str | Path) -> Saved:
    """The statistics in an .npz of ADM, pytorch-fid, clean-fid or ours.

    Raises:
        InputError: there are none, of shapes that do not go together, or no mean and covariance.
    """
    kinds = {name: keys for name, keys in KEYS.items() if set(keys) <= set(names_in(path))}
    if "pool" not in kinds:
        raise InputError(
            f"{path} holds {', '.join(names_in(path)) or 'nothing'}: expected statistics, mu and "
            "sigma, or images, arr_0"
        )
    found = _arrays(path, {*METADATA, *(key for keys in kinds.values() for key in keys)})
    moments = {}
    for name, keys in kinds.items():
        mean, covariance = (found[key] for key in keys)
        if {mean.dtype.kind, covariance.dtype.kind} - set("fiu"):
            raise InputError(
                f"{path}: {keys} are {mean.dtype}, {covariance.dtype}: expected floats"
            )
        if mean.ndim != 1 or covariance.shape != mean.shape * 2:
            raise InputError(
                f"{path}: {keys[0]} has shape {mean.shape} and {keys[1]} {covariance.shape}: "
                "expected [d] and [d, d]"
            )
        moments[name] = Moments(np.float64(mean), np.float64(covariance))
        check_moments(moments[name], *(f"{path}: {key}" for key in keys))
    metadata = {name: found[name] for name in METADATA if name in found}
    for name, value in metadata.items():
        if value.ndim:
            raise InputError(f"{path}: {name} has shape {value.shape}: expected one value")
    metadata = {name: value.item() for name, value in metadata.items()}
    count = metadata.get("count", 2)
    if not isinstance(count, int) or count < 2:
        raise InputError(f"{path}: count is {count!r}: expected the number of images, 2 or more")
    return Saved(moments, metadata)


def write_statistics(
    path: str | Path, moments: Mapping[str, Moments], metadata: Mapping[str, Any]
) -> None:
    """Writes an .npz that ADM's evaluator, pytorch-fid and clean-fid read, with its metadata."""
    arrays = {
        key: array
        for name, keys in KEYS.items()
        if name in moments
        for key, array in zip(keys, moments[name], strict=True)
    }
    known = {name: metadata[name] for name in METADATA if metadata.get(name) is not None}
    with whole(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **arrays, **known)
