"""The safety checker of diffusers' pipelines: a folder with config.json and weights."""

from pathlib import Path
from typing import Any, NamedTuple

from ldm_jax.encoders.clip.concepts import Concepts
from ldm_jax.encoders.clip.vision import Architecture
from ldm_jax.errors import InputError, read_json
from ldm_jax.types import Params
from ldm_jax.weights.formats.diffusers_folder import CONFIG, weight_files, weights_of
from ldm_jax.weights.names.clip import image_encoder
from ldm_jax.weights.table import float32, renamed, to_here

CONCEPTS = {  # field of Concepts -> name there
    "special": "special_care_embeds",
    "special_limits": "special_care_embeds_weights",
    "vectors": "concept_embeds",
    "limits": "concept_embeds_weights",
}
STEMS = ("model", "pytorch_model", "diffusion_pytorch_model")
PUBLISHED = {  # of CLIP ViT-L/14, where config.json leaves it out
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 224,
}


class Checker(NamedTuple):
    """An image encoder, its params, and unwanted concepts."""

    encoder: Architecture
    params: Params
    concepts: Concepts


def architecture(settings: dict[str, Any]) -> Architecture:
    """The image encoder in config.json."""
    sizes = PUBLISHED | (settings.get("vision_config_dict") or {})
    sizes |= settings.get("vision_config") or {}
    channels, layers, heads, patch, size = (sizes[name] for name in PUBLISHED)
    return Architecture(channels, layers, heads, settings.get("projection_dim", 768), patch, size)


def load(folder: str | Path) -> Checker:
    """The checker in a folder, or in the `safety_checker` of a model's folder.

    Raises:
        InputError: no such folder, or one of other weights.
    """
    place = Path(folder)
    place = place / "safety_checker" if (place / "safety_checker").is_dir() else place
    if not (place / CONFIG).is_file():
        raise InputError(
            f"--safety-check '{folder}' has no {CONFIG}: expected the folder safety_checker of a "
            "model of diffusers"
        )
    of = architecture(read_json(place / CONFIG))
    given = weights_of(weight_files(place, STEMS))
    names = {  # the encoder is inside another in the published file
        key.removeprefix("vision_model.") if key.count("vision_model.") > 1 else key: key
        for key in given
    }
    missing = [name for name in CONCEPTS.values() if name not in names]
    if missing:
        raise InputError(
            f"--safety-check '{folder}' lacks {missing[0]}: expected a safety checker, of "
            "StableDiffusionSafetyChecker's layout"
        )
    fields = {field: float32(given[name], name) for field, name in CONCEPTS.items()}
    encoder = renamed(given, {n: key for n, key in names.items() if n not in CONCEPTS.values()})
    title = f"--safety-check '{folder}' does not match its config.json"
    return Checker(of, to_here(image_encoder(of), encoder, title=title), Concepts(**fields))
