"""Statistics of features in files, compatible with other evaluators.

pytorch-fid and clean-fid save `mu` [d] and `sigma` [d, d] in an .npz, guided diffusion (ADM) also
`mu_s` and `sigma_s` of sFID's features. Files written by this module also name their origin, which
the other evaluators ignore.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.metrics.statistics import Moments

KEYS = {"pool": ("mu", "sigma"), "spatial": ("mu_s", "sigma_s")}
METADATA = ("extractor", "sha256", "resize", "count", "reference")  # not in others' files


class Saved(NamedTuple):
    """Moments by the name of their features, and the file's metadata."""

    moments: dict[str, Moments]
    metadata: dict[str, Any]


def holds_statistics(path: Path) -> bool:
    """Whether an .npz contains statistics of features."""
    with np.load(path, allow_pickle=False) as file:
        return "mu" in file.files


def read_statistics(path: str | Path) -> Saved:
    """The statistics in an .npz of ADM, pytorch-fid, clean-fid or ours.

    Raises:
        InputError: there are none, or of shapes that do not go together.
    """
    with np.load(path, allow_pickle=False) as file:
        if "mu" not in file.files or "sigma" not in file.files:
            raise InputError(
                f"{path} holds {', '.join(file.files) or 'nothing'}: expected statistics, mu and "
                "sigma, or images, arr_0"
            )
        moments = {
            name: Moments(*(np.asarray(file[key], np.float64) for key in keys))
            for name, keys in KEYS.items()
            if set(keys) <= set(file.files)
        }
        metadata = {name: file[name].item() for name in METADATA if name in file.files}
    for name, found in moments.items():
        d = found.mean.shape
        if len(d) != 1 or found.covariance.shape != d * 2:
            raise InputError(
                f"{path}: {KEYS[name][0]} has shape {d} and {KEYS[name][1]} "
                f"{found.covariance.shape}: expected [d] and [d, d]"
            )
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
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial.npz")
    np.savez(partial, **arrays, **{name: metadata[name] for name in METADATA if name in metadata})
    partial.replace(path)
