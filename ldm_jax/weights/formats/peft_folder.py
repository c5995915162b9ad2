"""Folders of PEFT: adapter_model.safetensors and adapter_config.json, for each component."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ldm_jax.errors import InputError, read_json
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.names.lora_keys import METADATA

LAYOUT = "PEFT's layout"
CONFIG, WEIGHTS = "adapter_config.json", ("adapter_model.safetensors", "adapter_model.bin")
COMPONENTS = ("unet", "text_encoder", "text_encoder_2")  # of each of which there may be a folder
# PEFT's fields with which a layer's change is another one than here
UNLIKE = {"fan_in_fan_out": False, "bias": "none", "modules_to_save": None, "lora_bias": False}


def found(path: Path) -> dict[str, Path]:
    """Component -> its folder; () of a folder that PEFT did not write."""
    each = {name: path / name for name in COMPONENTS}
    held = {name: place for name, place in each.items() if (place / CONFIG).is_file()}
    if held or not (path / CONFIG).is_file():
        return held
    mapping = read_json(path / CONFIG).get("auto_mapping") or {}
    text = "CLIPText" in str(mapping.get("base_model_class")) or path.name in COMPONENTS[1:]
    return {COMPONENTS[1] if text else COMPONENTS[0]: path}


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of all components by COMPONENT.KEY, and the settings as metadata of a file.

    Raises:
        InputError: a file is missing, or a setting is of another kind of adapter.
    """
    arrays: dict[str, np.ndarray] = {}
    said = {}
    for name, place in found(path).items():
        config = read_json(place / CONFIG)
        for field, value in UNLIKE.items():
            if config.get(field, value) not in (value, [] if value is None else value):
                raise InputError(
                    f"'{place / CONFIG}' has {field} {config[field]}: expected {value}, since low-"
                    "rank parts of kernels alone are read"
                )
        file = next((place / one for one in WEIGHTS if (place / one).is_file()), None)
        if file is None:
            raise InputError(f"'{place}' has no {WEIGHTS[0]}: expected it beside {CONFIG}")
        weights = read_weights(file)
        arrays |= {f"{name}.{key}": weights[key] for key in weights}
        said |= {f"{name}.{field}": value for field, value in config.items()}
    return arrays, {METADATA: json.dumps(said)}


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """The inverse of `read`, into a folder that exists: a folder for each component."""
    said = json.loads(metadata[METADATA])
    for name in dict.fromkeys(key.partition(".")[0] for key in arrays):
        place = path / name
        place.mkdir()
        config = {k.partition(".")[2]: x for k, x in said.items() if k.partition(".")[0] == name}
        own = {k.partition(".")[2]: x for k, x in arrays.items() if k.partition(".")[0] == name}
        (place / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
        write_weights(place / WEIGHTS[0], own)
