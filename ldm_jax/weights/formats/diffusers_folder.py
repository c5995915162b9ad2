"""Folders that diffusers writes: config.json, and weights in one file or in several."""

import json
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ldm_jax.errors import InputError, read_json
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.table import State

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model"
PLACES = ("", "vae", "vqvae")  # of an autoencoder, in its own folder or in a pipeline's


class Folder(NamedTuple):
    """What lies in a folder."""

    path: Path  # where config.json is
    settings: dict[str, Any]
    state: State  # read when asked for
    files: tuple[Path, ...]


def find(path: Path) -> Path | None:
    """Where an autoencoder's config.json lies in a folder; None where it holds none."""
    places = [path / place for place in PLACES if (path / place / CONFIG).is_file()]
    return places[0] if places else None


def read(path: Path) -> Folder:
    """An autoencoder in diffusers' layout.

    Raises:
        InputError: config.json or the weights are missing or damaged.
    """
    place = find(path)
    if place is None:
        raise InputError(f"'{path}' has no {CONFIG}: expected a folder that diffusers wrote")
    settings = read_json(place / CONFIG)
    files = weight_files(place)
    return Folder(place, settings, weights_of(files), files)


def weights_of(files: tuple[Path, ...]) -> State:
    """The weights in several files, read when asked for."""
    return ChainMap(*map(read_weights, files))


def weight_files(folder: Path, stems: tuple[str, ...] = (WEIGHTS,)) -> tuple[Path, ...]:
    """The files with the weights: full precision first, then .safetensors, then one file.

    Args:
        stems: their names may begin with.

    Raises:
        InputError: there are none.
    """
    for variant in ("", ".fp16", ".bf16"):
        for kind in (".safetensors", ".bin"):
            for stem in stems:
                file = folder / f"{stem}{variant}{kind}"
                if file.is_file():
                    return (file,)
                index = folder / f"{stem}{kind}.index{variant}.json"
                if index.is_file():
                    return _shards(index)
    raise InputError(
        f"'{folder}' has no weights: expected {stems[0]}.safetensors or .bin, or their index"
    )


def _shards(index: Path) -> tuple[Path, ...]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not {str} == {type(file) for file in places.values()}:
        raise InputError(f"'{index}' has no weight_map: expected a file's name for each weight")
    return tuple(index.parent / name for name in sorted(set(places.values())))


def write(folder: Path, settings: Mapping[str, Any], state: State) -> None:
    """Writes config.json and the weights into a folder that exists."""
    (folder / CONFIG).write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    write_weights(folder / f"{WEIGHTS}.safetensors", state)
