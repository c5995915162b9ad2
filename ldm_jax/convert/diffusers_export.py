"""Runs of diffusion models as folders of diffusers."""

import json
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ldm_jax import checkpoint, runs
from ldm_jax.convert.diffusers_model import INDEX, KEPT, names, of_conditions, parts_of, stem
from ldm_jax.convert.model import checkpoint_weights
from ldm_jax.convert.paths import as_json
from ldm_jax.convert.tokenizer_files import write_tokenizer
from ldm_jax.errors import InputError
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.runtime.files import whole_folder
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.names import diffusers_model, diffusers_scheduler
from ldm_jax.weights.names.autoencoder import Description
from ldm_jax.weights.table import Lazy

LIBRARIES = {
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "scheduler": ("diffusers", "DDIMScheduler"),
    "image_encoder": ("transformers", "CLIPVisionModelWithProjection"),
    "feature_extractor": ("transformers", "CLIPImageProcessor"),
    "image_normalizer": ("stable_diffusion", diffusers_model.NORMALIZER),
    "image_noising_scheduler": ("diffusers", "DDPMScheduler"),
}


def export_pipeline(run: Path, destination: Path) -> None:
    """Exports the run of a model of captions or of images as a folder that diffusers reads.

    Raises:
        InputError: diffusers has no such model.
    """
    experiment = runs.load_config(run)
    attended = experiment.conditions[0] if experiment.conditions else None
    exportable = attended and attended.token_width and attended.diffusers()
    if not exportable or experiment.latent_scale == "channels":
        raise InputError(
            f"run '{run}' has condition {type(attended).__name__ if attended else None} and "
            f"latent_scale {experiment.latent_scale}: expected CLIPText or CLIPImage and one scale "
            "for a folder of diffusers; NAME.safetensors or NAME.ckpt for the original's layout"
        )
    last = of_conditions(experiment)[-1]
    pieces = runs.load_tokenizers(run, experiment).get("tokens")
    texts = _texts(run, experiment)
    rows_of, averaged = names(experiment), checkpoint.averaged_parts(run)
    trained_here = checkpoint.latest_step(run) > 0
    kept = run / KEPT
    imported = kept.is_dir() and not trained_here
    kinds = json.loads((kept / "types.json").read_text("utf-8")) if imported else {}
    counters: Mapping[str, np.ndarray] = {}
    if imported and (kept / "aside.safetensors").is_file():
        counters = read_weights(kept / "aside.safetensors")
    with whole_folder(destination) as unfinished:
        for place, content in texts.items():
            (unfinished / place).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / place).write_text(content, "utf-8")
        tokenized = (unfinished / "tokenizer" / "tokenizer.json").exists()
        if pieces and not tokenized and not imported:
            write_tokenizer(unfinished / "tokenizer", pieces, attended)
        for name, part in parts_of(experiment).items():
            item = "ema" if part.partition("/")[0] in averaged else "params"
            rows = {key: (item, row) for row in rows_of[name] for key in row.keys}
            inside = {
                k.removeprefix(f"{name}/"): counters[k] for k in counters if k.startswith(name)
            }
            own = {k.removeprefix(f"{name}/"): x for k, x in kinds.items() if k.startswith(name)}
            forms = {
                key: np.broadcast_to(np.zeros((), jnp.dtype(own.get(key, "float32"))), row.shape)
                for key, (_, row) in rows.items()
            }
            weights = ChainMap(inside, _typed(checkpoint_weights(run, rows), own))
            write_weights(unfinished / name / f"{stem(name)}.safetensors", weights, inside | forms)
            print(f"{name}: {len(forms)} weights{', averaged' if item == 'ema' else ''}")
    if last.note:
        print(last.note)
    print(f"{destination}: a {last.pipeline} in the layout of diffusers")


def _typed(weights: Mapping[str, np.ndarray], kinds: Mapping[str, str]) -> Lazy:
    """Weights of the types by their names; float32 where there is none."""

    def read(key: str) -> np.ndarray:
        return np.asarray(weights[key]).astype(jnp.dtype(kinds.get(key, "float32")))

    return Lazy(weights, read)


def _texts(run: Path, experiment: Experiment) -> dict[str, str]:
    """The small files of a folder by their places: as they came in, or made."""
    kept = run / KEPT / "text"
    if kept.is_dir():
        texts = {
            str(path.relative_to(kept)): path.read_text("utf-8")
            for path in sorted(kept.rglob("*"))
            if path.is_file()
        }
        index = json.loads(texts.get(INDEX, "{}"))
        there = {Path(place).parts[0] for place in texts if len(Path(place).parts) > 1}
        index = {
            name: value if not isinstance(value, list) or name in there else [None, None]
            for name, value in index.items()
        }
        if "requires_safety_checker" in index:
            index["requires_safety_checker"] = False
        return texts | {INDEX: as_json(index)}
    stage = experiment.first_stage
    factor = stage.model.build().factor
    side, channels = experiment.data.image_size // factor, stage.model.z_channels
    names_of = experiment.condition_names()
    scale = experiment.latent_scale
    if scale == "one":
        scale = float(checkpoint.read_part(run, "params", "first_stage")["scale"][0])
    size = experiment.data.image_size
    vae = Description(stage.model, size, (0.0,) * channels, (scale,) * channels)
    unet = diffusers_model.unet_config(
        experiment.model, channels + names_of.concat, channels, names_of.tokens, side
    )
    each = of_conditions(experiment)
    index: dict[str, Any] = {
        "_class_name": each[-1].pipeline,
        "_diffusers_version": diffusers_model.VERSION,
    }
    small = ["scheduler", *(name for one in each for name in one.small)]
    index |= {name: list(LIBRARIES[name]) for name in (*parts_of(experiment), *small)}
    texts = {
        "unet/config.json": as_json(unet),
        "vae/config.json": as_json(vae.model.diffusers_config(vae)),
        "scheduler/scheduler_config.json": as_json(
            diffusers_scheduler.scheduler_config(experiment.diffusion, experiment.sampling.spacing)
        ),
    }
    texts |= {place: as_json(config) for one in each for place, config in one.files.items()}
    index |= each[-1].index
    return texts | {INDEX: as_json(index)}
