"""CLIP from files of transformers, OpenCLIP and OpenAI as runs, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ldm_jax import runs
from ldm_jax.conditioning.clip_text import CLIPText
from ldm_jax.convert.paths import FILES, as_json, prefix_errors
from ldm_jax.convert.tokenizer_files import find_tokenizer, write_tokenizer
from ldm_jax.data.settings import Data
from ldm_jax.encoders.clip.model import CLIP, CLIPModel, TextArchitecture
from ldm_jax.encoders.clip.vision import VisionSettings
from ldm_jax.encoders.tokenizers import clip
from ldm_jax.errors import InputError, read_json
from ldm_jax.experiments.clip import CLIPExperiment
from ldm_jax.runtime.files import whole_folder
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.names.clip import both_encoders
from ldm_jax.weights.names.clip_file import NAMES, find_clip, holds_clip, read_encoders, recognised
from ldm_jax.weights.names.diffusers_model import (
    preprocessor_config,
    read_text,
    read_vision,
    text_config,
    vision_config,
)
from ldm_jax.weights.table import shapes_of, to_original

LANCZOS = 1  # Pillow's number of the filter by which training makes images smaller


def is_clip(source: Path) -> bool:
    """Whether a file, or the file of a folder, has both encoders of CLIP."""
    if source.is_dir() and not any((source / name).is_file() for name in NAMES):
        return False
    return holds_clip(read_weights(find_clip(source)))


# Into a run


def import_clip(
    source: Path, run: Path, experiment: CLIPExperiment | None, tokenizer: Path | None
) -> None:
    """Imports weights in the layout of transformers, OpenCLIP or OpenAI as the run of a CLIP.

    Args:
        experiment: says which model it is; None: the config.json beside the weights does, or else
            their keys and shapes.
        tokenizer: tokenizer.json or merges.txt; None: the folder's own, or the published one.

    Raises:
        InputError: other weights than said, or no tokenizer; nothing is written then.
    """
    with prefix_errors(source):
        state = read_weights(find_clip(source))
        settings = source / "config.json"
        if experiment is None:
            if settings.is_file():
                experiment = _experiment(_described(read_json(settings)))
            else:
                of = recognised(shapes_of(state))
                experiment = _experiment(of)
                print(
                    f"{source}: there is no config.json, so that heads and activation are guesses: "
                    f"{of.vision.heads} and {of.text.heads} heads, the activation of {of.weights}; "
                    "--config CONFIG.py says otherwise"
                )
        experiment.check()
        model = experiment.model
        params = read_encoders(experiment.build(), state)
        if "logit_scale" not in state:
            raise InputError("logit_scale is missing: expected the whole model as it was trained")
        params["log_scale"] = np.asarray(state["logit_scale"], np.float32).reshape(())
        given = tokenizer or (find_tokenizer(source) if source.is_dir() else None)
        found = clip.load(given, model.length, model.weights)
        if found.get_vocab_size() != model.vocab_size:
            raise InputError(
                f"the tokenizer has {found.get_vocab_size()} tokens and the model "
                f"{model.vocab_size}: expected --tokenizer with those of the model"
            )
    with whole_folder(run) as unfinished:
        runs.write_imported(unfinished, experiment, {"clip": params}, None, {"tokens": found})
    count = sum(x.size for x in jax.tree.leaves(params))
    print(
        f"{run}: {count:,} parameters of a CLIP for images of {experiment.data.image_size} pixels"
    )


def _described(settings: Mapping[str, Any]) -> CLIP:
    """What a config.json of transformers says."""
    if settings.get("model_type") != "clip":
        raise InputError(
            f"config.json is of {settings.get('model_type')}: expected clip, or --config CONFIG.py"
        )
    text = {"model_type": "clip_text_model"} | (settings.get("text_config") or {})
    text, vision = read_text(text), read_vision(settings)
    if vision["weights"] != text["weights"]:
        raise InputError(
            f"the encoders' activations are of {vision['weights']} and {text['weights']}: expected "
            "one"
        )
    sizes = TextArchitecture(
        *(text[name] for name in ("dim", "layers", "num_heads", "length", "vocab_size"))
    )
    return CLIP(VisionSettings(**vision).architecture, sizes, vision["weights"])


def _experiment(of: CLIP) -> CLIPExperiment:
    model = CLIPModel(
        dim=of.vision.dim,
        patch=of.vision.patch,
        vision_channels=of.vision.channels,
        vision_layers=of.vision.layers,
        vision_heads=of.vision.heads,
        text_channels=of.text.dim,
        text_layers=of.text.layers,
        text_heads=of.text.heads,
        length=of.text.length,
        vocab_size=of.text.vocab_size,
        weights=of.weights,
    )
    return CLIPExperiment(model=model, data=Data(image_size=of.vision.size))


# Out of a run


def export_clip(run: Path, destination: Path) -> None:
    """Exports the averaged weights of a CLIP: a folder as transformers reads it, or a file in the
    names of OpenCLIP and OpenAI.
    """
    found = runs.load_clip(run)
    params = jax.tree.map(np.asarray, found.params)
    encoders = {name: x for name, x in params.items() if name != "log_scale"}
    layout = "openclip" if destination.suffix in FILES else "transformers"
    state = to_original(both_encoders(found.model, layout), encoders)
    state["logit_scale"] = params["log_scale"]
    if layout == "openclip":
        write_weights(destination, state)
        print(f"{destination}: {len(state)} weights in the layout of OpenCLIP and OpenAI")
        if found.model.weights == "openai":
            print("the file does not say that the activation is OpenAI's (quick_gelu)")
        return
    with whole_folder(destination) as unfinished:
        write_weights(unfinished / "model.safetensors", state)
        (unfinished / "config.json").write_text(as_json(_config(found.model)), "utf-8")
        prepared = preprocessor_config(found.model.vision.size) | {"resample": LANCZOS}
        (unfinished / "preprocessor_config.json").write_text(as_json(prepared), "utf-8")
        write_tokenizer(unfinished, found.tokenizer, found.experiment.model)
    print(f"{destination}: {len(state)} weights, a CLIPModel of transformers")


def _config(of: CLIP) -> dict[str, Any]:
    """The config.json of both encoders."""
    text = CLIPText(
        length=of.text.length,
        vocab_size=of.text.vocab_size,
        dim=of.text.dim,
        layers=of.text.layers,
        num_heads=of.text.heads,
        head_dim=of.text.dim // of.text.heads,
        weights=of.weights,
    )
    inside = {"projection_dim": of.vision.dim}
    vision = vision_config(VisionSettings(of.weights, *of.vision))
    each = {"text_config": text_config(text) | inside, "vision_config": vision}
    for config in each.values():
        del config["architectures"]
    return {"architectures": ["CLIPModel"], "model_type": "clip", **inside, **each}
