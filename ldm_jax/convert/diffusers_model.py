"""Whole models in folders of diffusers as runs."""

import json
import shutil
from collections import ChainMap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ldm_jax import conditioning, runs
from ldm_jax.backbones.unet import UNet
from ldm_jax.conditioning.condition import Condition
from ldm_jax.convert import recognise
from ldm_jax.convert.first_stage import say_widened
from ldm_jax.convert.model import checked, contradicted, one_scale, say_tokenizer, tokenizers_of
from ldm_jax.convert.paths import prefix_errors
from ldm_jax.convert.tokenizer_files import find_tokenizer
from ldm_jax.data.settings import Data
from ldm_jax.diffusion.sampling import Sampling
from ldm_jax.diffusion.settings import Diffusion
from ldm_jax.errors import InputError, read_json
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.runtime.files import whole_folder
from ldm_jax.weights import table
from ldm_jax.weights.formats import diffusers_folder
from ldm_jax.weights.formats.files import write_weights
from ldm_jax.weights.names import diffusers_model, diffusers_scheduler
from ldm_jax.weights.names.condition import DiffusersFacts, DiffusersParts
from ldm_jax.weights.names.condition import part as part_of
from ldm_jax.weights.table import renamed

INDEX = "model_index.json"
KEPT = "diffusers"  # folder of a run with what came beside the weights
WHERE = {"unet": "denoiser", "vae": "first_stage"}  # a component -> part of params
# components with weights of the pipelines that are read; of what conditions add, see their files
PARTS, OF_IMAGE = ("unet", "vae", "text_encoder"), ("image_encoder", "image_normalizer")
PIPELINES = {
    "StableDiffusionPipeline": PARTS,
    "StableDiffusionInpaintPipeline": PARTS,
    "StableDiffusionDepth2ImgPipeline": PARTS,
    "StableDiffusionUpscalePipeline": PARTS,
    "StableUnCLIPImg2ImgPipeline": (*PARTS, *OF_IMAGE),
    "StableDiffusionImageVariationPipeline": ("unet", "vae", "image_encoder"),
    "StableDiffusionImg2ImgPipeline": PARTS,
}
STEM = {"text_encoder": "model", "image_encoder": "model"}  # of files with weights
KINDS = [getattr(conditioning, name) for name in conditioning.__all__]
SMALL = ("tokenizer", "scheduler", "low_res_scheduler", "feature_extractor")  # without weights
SMALL += ("image_noising_scheduler",)


def is_pipeline(source: Path) -> bool:
    """Whether a folder holds a whole model."""
    return (source / INDEX).is_file()


class Found(NamedTuple):
    """A component in a folder: its config.json, and its weights, read when asked for."""

    settings: dict[str, Any]
    state: table.State


def import_pipeline(source: Path, run: Path, wanted: Experiment | None) -> None:
    """Imports a folder of a whole model as the run of a diffusion model.

    Args:
        wanted: what it is to be; None: what its files say.

    Raises:
        InputError: a component is missing or of another kind, or weights are not of its network.
    """
    with prefix_errors(source):
        parts = _parts_of(source)
        found = {name: _component(source, name, parts) for name in parts}
        described = _described(source, {name: part.settings for name, part in found.items()})
        experiment = checked(wanted or described)
        expected = parts_of(experiment)
        if set(parts) != set(expected):
            raise InputError(
                f"the components are {', '.join(parts)}: expected {', '.join(expected)} for this "
                "config"
            )
        rows_of = names(experiment)
        captioned = bool(runs.text_encoders(experiment))
        tokenizers = tokenizers_of(experiment, _tokenizer_file(source) if captioned else None)
        wrong = [
            line
            for name, part in found.items()
            for line in table.mismatches(
                rows_of[name], table.shapes_of(part.state), prefix=f"{name}/"
            )
        ]
        table.refuse(wrong, "these weights are not of this model")
        rows = [row for name in found for row in table.under(rows_of[name], there=f"{name}/")]
        each = {f"{name}/": part.state for name, part in found.items()}
        states = [renamed(s, {f"{name}{key}": key for key in s}) for name, s in each.items()]
        params = {"conditioner": {}} | table.rearranged(rows, ChainMap(*states))
    params["first_stage"] |= one_scale(experiment, experiment.latent_scale)
    with whole_folder(run) as unfinished:
        runs.write_imported(unfinished, experiment, params, None, tokenizers)
        _keep(source, unfinished / KEPT, found)
    of = ["captions" if x.text_encoders else type(x).__name__ for x in experiment.conditions]
    print(f"{source}: a model of {' and '.join(of)} in the layout of diffusers")
    for line in contradicted(_said(described), experiment):
        print(f"{source}: {line}")
    for name in parts:
        print(f"{name}: {table.count(rows_of[name]):,} parameters")
    say_widened(*(part.state for part in found.values()))
    folders = [p.name for p in sorted(source.iterdir()) if p.is_dir()]
    left = [name for name in folders if name not in (*parts, *SMALL)]
    if left:
        print(f"left out: {', '.join(left)}, which no model here reads")
    say_tokenizer(run, experiment)
    print(f"{run}: draw with sample.py {run}")


def _said(described: Experiment) -> dict[str, Any]:
    """What a folder says of its process, by the names of fields."""
    process = ("schedule", "steps", "beta_start", "beta_end", "zero_terminal_snr", "prediction")
    said = {f"diffusion.{name}": getattr(described.diffusion, name) for name in process}
    return said | {"sampling.spacing": described.sampling.spacing}


def _parts_of(source: Path) -> tuple[str, ...]:
    """The components with weights of a folder's kind, see `PARTS`.

    Raises:
        InputError: a pipeline of another family.
    """
    kind = read_json(source / INDEX).get("_class_name")
    if kind not in PIPELINES:
        xl = "StableDiffusionXL" in str(kind)
        raise InputError(
            f"{INDEX} says {kind}: expected one of {', '.join(PIPELINES)}"
            f"{', Stable Diffusion XL is not read yet' * xl}; "
            f"{source / 'vae'} by itself is read as a first stage"
        )
    return PIPELINES[kind]


def parts_of(experiment: Experiment) -> dict[str, str]:
    """A component -> where its weights are in params; unet, vae and those of conditions."""
    found = dict(WHERE)
    for i, each in enumerate(of_conditions(experiment)):
        for name, (inside, _) in each.components.items():
            found[name] = "/".join(x for x in ("conditioner", part_of(i) if i else "", inside) if x)
    return found


def of_conditions(experiment: Experiment) -> list[DiffusersParts]:
    """What the conditions are in a folder of diffusers.

    Raises:
        InputError: diffusers has no models of them.
    """
    for i, one in enumerate(experiment.conditions):
        if one.diffusers() is None or bool(one.token_width) == bool(i):  # the first is attended to
            raise InputError(f"diffusers has no pipeline of {type(one).__name__}")
    return [one.diffusers() for one in experiment.conditions]


def _component(source: Path, name: str, parts: Sequence[str]) -> Found:
    folder = source / name
    if not (folder / "config.json").is_file():
        listed = sorted(p.name for p in source.iterdir() if p.is_dir())
        wanted = [*parts, *["tokenizer"] * ("text_encoder" in parts)]
        raise InputError(
            f"there is no {name}/config.json: expected the components {', '.join(wanted)} "
            f"and scheduler; found {', '.join(listed) or 'none'}"
        )
    stems = (stem(name), "pytorch_model") if name in STEM else (stem(name),)
    state = diffusers_folder.weights_of(diffusers_folder.weight_files(folder, stems))
    return Found(read_json(folder / "config.json"), state)


def stem(name: str) -> str:
    return STEM.get(name, "diffusion_pytorch_model")


def _described(source: Path, settings: Mapping[str, dict]) -> Experiment:
    """What the files of a folder say that the model is."""
    scheduler = _scheduler(source, "scheduler", "the process")
    fields, in_channels, side = diffusers_model.read_unet(settings["unet"])
    unet = UNet(**fields)
    vae = recognise.of_diffusers(settings["vae"])
    if len(set(vae.scale)) > 1 or any(vae.shift) or vae.left_out:
        raise InputError(
            "vae shifts or scales channels each in its own way, or has no quant_conv: expected one "
            "scaling_factor and both convolutions, as in Stable Diffusion 1 and 2"
        )
    z, factor = vae.model.z_channels, vae.model.factor
    noising = {}
    if "image_normalizer" in settings:
        noising = _scheduler(source, "image_noising_scheduler", "the noise on embeddings")
    facts = DiffusersFacts(settings, noising, in_channels - z, z, factor, unet.vector_entries)
    found = [one for kind in KINDS if (one := kind.of_diffusers(facts))]
    conditions: list[Condition] = sorted(found, key=lambda one: one.token_width is None)
    width = settings["unet"].get("cross_attention_dim", 1280)
    if width != conditions[0].token_width:
        raise InputError(
            f"unet has cross_attention_dim {width} and the encoder before it a width of "
            f"{conditions[0].token_width}: expected the same"
        )
    taken = sum(one.names(z).concat for one in conditions)
    leveled = any(one.noise_levels for one in conditions if one.names(z).concat)
    if taken != facts.extra or (facts.levels is not None) != leveled:
        raise InputError(
            f"unet has in_channels {in_channels} and num_class_embeds {facts.levels} beside "
            f"latents of {z}: expected {z}, {z + 1} (depth), {2 * z + 1} (inpainting), or {z + 3} "
            "with num_class_embeds (upscaler)"
        )
    diffusion = Diffusion(**diffusers_scheduler.read_scheduler(scheduler))
    spacing = diffusers_scheduler.read_spacing(scheduler)
    return Experiment(
        data=Data(image_size=side * factor),
        first_stage=FirstStageExperiment(model=vae.model),
        latent_scale=vae.scale[0],
        model=unet,
        conditions=tuple(conditions),
        diffusion=diffusion,
        sampling=Sampling(steps=min(50, diffusion.steps), spacing=spacing, guidance=7.5),
    )


def _scheduler(source: Path, name: str, what: str) -> dict[str, Any]:
    path = source / name / "scheduler_config.json"
    if not path.is_file():
        raise InputError(
            f"there is no {name}/scheduler_config.json: expected it, since it says {what}"
        )
    return read_json(path)


def _tokenizer_file(source: Path) -> Path:
    found = find_tokenizer(source / "tokenizer")
    if found is None:
        raise InputError(
            "there is no tokenizer: expected tokenizer/tokenizer.json or tokenizer/merges.txt"
        )
    return found


def names(experiment: Experiment) -> dict[str, table.Table]:
    """The rows of each component in the names of diffusers, under the parts' names here."""
    prefix = f"{WHERE['unet']}/"
    rows = experiment.original_names().table
    denoiser = [
        row._replace(path=row.path.removeprefix(prefix))
        for row in rows
        if row.path.startswith(prefix)
    ]
    own = {
        "unet": diffusers_model.unet_names(denoiser, len(experiment.model.channel_mults)),
        "vae": experiment.first_stage.model.diffusers_names(),
    }
    for each in of_conditions(experiment):
        own |= {name: rows for name, (_, rows) in each.components.items()}
    return {
        name: table.under(own[name], f"{place}/") for name, place in parts_of(experiment).items()
    }


def _keep(source: Path, kept: Path, found: Mapping[str, Found]) -> None:
    """Keeps what is said beside the weights, so that it goes out as it came; other types than
    float32 by the names of weights."""
    (kept / "text").mkdir(parents=True)
    for path in sorted(source.rglob("*")):
        place = path.relative_to(source)
        own = len(place.parts) == 1 or place.parts[0] in (*found, *SMALL)
        if own and path.suffix in (".json", ".txt") and ".index." not in path.name:
            (kept / "text" / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, kept / "text" / place)
    states = {
        f"{name}/{key}": part.state[key] for name, part in found.items() for key in part.state
    }
    marks = {key for key in states if table.MARKERS.fullmatch(key.partition("/")[2])}
    kinds = {key: str(w.dtype) for key, w in states.items() if w.dtype != np.float32}
    kinds = {key: kind for key, kind in kinds.items() if key not in marks}
    (kept / "types.json").write_text(json.dumps(kinds), "utf-8")
    if marks:
        write_weights(
            kept / "aside.safetensors", {key: np.asarray(states[key]) for key in sorted(marks)}
        )
