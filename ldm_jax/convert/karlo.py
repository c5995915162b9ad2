"""Karlo, an unCLIP, as three runs, of its prior, its decoder and its upsampler, and back.

A folder has the authors' files (*.ckpt, CLIP's ViT-L-14.pt, and the statistics of its embeddings in
a .th), which are recognised by their keys, or is a pipeline of diffusers.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ldm_jax import runs
from ldm_jax.convert.karlo_settings import experiments, of_original, of_pipeline
from ldm_jax.convert.model import checked, one_scale, say_tokenizer, tokenizers_of
from ldm_jax.convert.paths import FILES, prefix_errors
from ldm_jax.convert.tokenizer_files import find_tokenizer
from ldm_jax.errors import InputError, read_json
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.runtime.files import whole_folder
from ldm_jax.weights import table
from ldm_jax.weights.formats.diffusers_folder import WEIGHTS, weight_files, weights_of
from ldm_jax.weights.formats.files import read_weights
from ldm_jax.weights.formats.torch_file import read_torch
from ldm_jax.weights.names import clip as clip_names
from ldm_jax.weights.names import karlo as names
from ldm_jax.weights.names.clip_file import layout_of

INDEX = "model_index.json"
PIPELINES = ("UnCLIPPipeline", "UnCLIPImageVariationPipeline")
RUNS = ("prior", "decoder", "upsampler")  # in a folder of them
STATISTICS = ".th"  # ending of the authors' file of mean and deviation
MARKS = {  # a key of the authors' files and one of diffusers' -> what has it
    "prior": ("prd_emb", "prd_embedding"),
    "decoder": ("cf_param", "learned_classifier_free_guidance_embeddings"),
    "upsampler": ("model_first_steps.input_blocks.0.0.weight",),
    "clip": ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
}
STEM = {"text_encoder": "model", "image_encoder": "model"}  # of files with weights


class Found(NamedTuple):
    """The components in a folder.

    states:     component -> its weights, read when asked for
    side:       whose names they have
    settings:   component -> its config.json, of diffusers
    statistics: mean and deviation of embeddings, of the authors
    """

    states: Mapping[str, table.State]
    side: names.Side
    settings: Mapping[str, dict[str, Any]] = {}
    statistics: tuple[np.ndarray, ...] = ()


def part_of(keys: Collection[str]) -> str | None:
    """Which part of Karlo these keys are of, "clip" among them; None: none."""
    return next((part for part, marks in MARKS.items() if any(x in keys for x in marks)), None)


def refuse_part(source: Path, keys: Collection[str]) -> None:
    """Raises InputError for a file of one part of Karlo."""
    part = part_of(keys)
    if part in RUNS:
        raise InputError(
            f"{source} holds the {part} of Karlo: expected the folder of all its files, with "
            "CLIP's, or of diffusers' pipeline"
        )


def is_karlo(source: Path) -> bool:
    """Whether a folder has Karlo's files, or is its pipeline."""
    if not source.is_dir():
        return False
    if (source / INDEX).is_file():
        return read_json(source / INDEX).get("_class_name") in PIPELINES
    return any(_part_in(path) in RUNS for path in _files(source))


def _part_in(path: Path) -> str | None:
    """Which part a file holds; None: none, or it cannot be read."""
    try:
        return part_of(read_weights(path))
    except InputError:
        return None


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix in FILES and path.is_file()]


def _of_authors(source: Path) -> Found:
    """The authors' files of a folder.

    Raises:
        InputError: one is missing.
    """
    states = {part_of(state): state for state in map(read_weights, _files(source))}
    statistics = [path for path in source.iterdir() if path.suffix == STATISTICS]
    absent = [part for part in MARKS if part not in states]
    absent += ["statistics of CLIP's embeddings, *.th"] * (not statistics)
    if absent:
        raise InputError(
            f"there is no {absent[0]}: expected the files of prior, decoder and upsampler, CLIP's "
            "ViT-L-14.pt and ViT-L-14_stats.th"
        )
    tree = read_torch(statistics[0])
    if not (isinstance(tree, tuple | list) and len(tree) == 2):
        raise InputError(f"{statistics[0].name} is no mean and deviation: expected two arrays")
    return Found(states, "original", statistics=tuple(map(np.asarray, tree)))


def _of_diffusers(source: Path) -> Found:
    """The components of a pipeline's folder."""
    has_prior = read_json(source / INDEX)["_class_name"] == PIPELINES[0]
    parts = ["text_encoder", "text_proj", "decoder", "super_res_first", "super_res_last"]
    parts += ["prior"] if has_prior else ["image_encoder"]
    settings, states = {}, {}
    for part in parts:
        if not (source / part / "config.json").is_file():
            raise InputError(
                f"there is no {part}/config.json: expected the components {', '.join(parts)}"
            )
        settings[part] = read_json(source / part / "config.json")
        stems = (STEM.get(part, WEIGHTS), "pytorch_model")
        states[part] = weights_of(weight_files(source / part, stems))
    clips = source / "prior_scheduler" / "scheduler_config.json"
    settings["prior_scheduler"] = read_json(clips) if clips.is_file() else {}
    return Found(states, "diffusers", settings)


def import_karlo(source: Path, destination: Path, tokenizer: Path | None) -> None:
    """Imports a folder of Karlo as the runs of its models, in a new folder.

    Raises:
        InputError: a part is missing, or has other weights; nothing is written then.
    """
    with prefix_errors(source):
        if (source / INDEX).is_file():
            found = _of_diffusers(source)
            described = of_pipeline(found.settings)
            tokenizer = tokenizer or find_tokenizer(source / "tokenizer")
        else:
            found = _of_authors(source)
            described = of_original({part: table.shapes_of(x) for part, x in found.states.items()})
        each = {name: checked(one) for name, one in experiments(described).items()}
        captioned = next(x for x in each.values() if runs.text_encoders(x))
        tokenizers = tokenizers_of(captioned, tokenizer)
        params = {name: params_of(name, one, found) for name, one in each.items()}
    with whole_folder(destination) as unfinished:
        for name, one in each.items():
            words = tokenizers if runs.text_encoders(one) else {}
            runs.write_imported(unfinished / name, one, params[name], None, words)
    for name, one in each.items():
        say_tokenizer(destination / name, one)
        print(f"{destination / name}: the {name}")
    print("draw with a cascade of these, such as configs/cascades/dalle2.py")


def params_of(part: str, one: Experiment, found: Found) -> dict[str, Any]:
    """The params of a run.

    Raises:
        InputError: weights are missing, unexpected or misshapen.
    """
    first_stage: dict[str, Any] = one_scale(one, 1.0)
    conditioner = {} if part == "upsampler" else _conditioner(one, found)
    denoiser: dict[str, Any] = {}
    for component, rows in tables(part, one, found.side).items():
        state = found.states[component]
        denoiser |= _read(rows, state, component)
    if part == "prior":
        own = ("mean", "std")
        if found.side == "original":
            each = zip(own, found.statistics, strict=True)
            first_stage |= {name: np.float32(x).reshape(-1) for name, x in each}
        else:
            first_stage |= {name: denoiser.pop(name) for name in own}
    return {"denoiser": denoiser, "conditioner": conditioner, "first_stage": first_stage}


def _read(rows: table.Table, state: table.State, component: str) -> dict[str, Any]:
    return table.to_here(rows, state, (), f"these weights are not those of Karlo's {component}")


def tables(part: str, one: Experiment, side: names.Side) -> dict[str, table.Table]:
    """Component of a folder -> the rows of its weights, of the denoiser of a run."""
    model = one.model
    if part == "upsampler":
        each = names.upsampler(model, side)
        if side == "original":
            return {"upsampler": [row for rows in each.values() for row in rows]}
        return {f"super_res_{name}": rows for name, rows in each.items()}
    tokens, embedding = one.conditions[0].dim, one.conditions[0].embedding_dim
    if part == "prior":
        rows = names.prior(model, embedding, tokens, side)
        return {"prior": [*rows, *names.statistics(embedding)] if side == "diffusers" else rows}
    own, unet = names.projection(model, tokens, side), names.unet(model, 3, 6, side)
    return {"decoder": [*own, *unet]} if side == "original" else {"text_proj": own, "decoder": unet}


def _conditioner(one: Experiment, found: Found) -> dict[str, Any]:
    """CLIP's encoders, as the run's conditions have them."""
    caption, *image = one.conditions
    theirs = found.states["clip" if found.side == "original" else "text_encoder"]
    layout = layout_of(theirs)
    params = _some(clip_names.captions(caption, caption.embedding_dim, layout), theirs, "text")
    if image and image[0].encodes:
        theirs = theirs if found.side == "original" else found.states["image_encoder"]
        rows = clip_names.images(image[0].architecture, layout_of(theirs))
        params["beside"] = {"tower": _some(rows, theirs, "image")}
    return params


def _some(rows: table.Table, state: table.State, what: str) -> dict[str, Any]:
    """The params of one encoder of a file that may hold both."""
    own = {key: state[key] for key in table.shapes(rows) if key in state}
    return table.to_here(rows, own, (), f"these weights are not of CLIP's {what} encoder")
