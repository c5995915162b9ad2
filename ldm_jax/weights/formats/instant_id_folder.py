"""Folders of InstantID as published: IdentityNet as diffusers writes it, and ip-adapter.bin."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ldm_jax.weights.formats.diffusers_folder import CONFIG, WEIGHTS, weight_files, weights_of
from ldm_jax.weights.formats.files import write_weights
from ldm_jax.weights.formats.torch_writer import write_tree
from ldm_jax.weights.names.ip_adapter import ATTENTION, IMAGE
from ldm_jax.weights.table import Lazy, State

LAYOUT = "InstantID's layout"
NET, FACE = "ControlNetModel", ("ip-adapter.bin", "ip-adapter.safetensors")
PREFIXES = (IMAGE, ATTENTION)  # of what lies in FACE; what lies in NET has others


def found(path: Path) -> bool:
    """Whether a folder has both."""
    return (path / NET).is_dir() and any((path / name).is_file() for name in FACE)


def read(path: Path) -> tuple[State, dict[str, str]]:
    """The arrays of both, and no metadata."""
    face = next(path / name for name in FACE if (path / name).is_file())
    return weights_of((*weight_files(path / NET), face)), {}


def parted(arrays: State) -> tuple[State, State]:
    """Those of FACE and those of NET, read when asked for."""
    inside = [key for key in arrays if key.startswith(PREFIXES)]
    rest = [key for key in arrays if not key.startswith(PREFIXES)]
    return Lazy(inside, arrays.__getitem__), Lazy(rest, arrays.__getitem__)


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """The inverse of `read`, into a folder that exists.

    Args:
        metadata: IdentityNet's CONFIG, as diffusers reads it.
    """
    face, net = parted(arrays)
    tree: dict[str, dict[str, np.ndarray]] = {prefix[:-1]: {} for prefix in PREFIXES}
    for key in face:
        part, _, name = key.partition(".")
        tree[part][name] = face[key]
    with (path / FACE[0]).open("wb") as file:
        write_tree(file, tree)
    (path / NET).mkdir()
    (path / NET / CONFIG).write_text(metadata[CONFIG], "utf-8")
    write_weights(path / NET / f"{WEIGHTS}.safetensors", net)
