"""Whole models in folders of diffusers as runs, and back."""

import json
import math
import shutil
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ldm_jax import checkpoint, runs
from ldm_jax.backbones.unet import UNet
from ldm_jax.conditioning.clip_image import CLIPImage
from ldm_jax.conditioning.clip_text import CLIPText
from ldm_jax.conditioning.condition import Condition
from ldm_jax.conditioning.depth import Depth
from ldm_jax.conditioning.inpainting import Inpainting
from ldm_jax.conditioning.low_resolution import LowResolution
from ldm_jax.conditioning.unclip import UnCLIP
from ldm_jax.convert import recognise
from ldm_jax.convert.first_stage import describe
from ldm_jax.convert.model import Checkpoint, checked, float32, say_tokenizer, tokenizer_of
from ldm_jax.convert.paths import as_json, prefix_errors, whole
from ldm_jax.convert.tokenizer_files import find_tokenizer, write_tokenizer
from ldm_jax.data.settings import Data
from ldm_jax.diffusion.augmentation import BETAS, EMBEDDING_LEVELS, LEVELS
from ldm_jax.diffusion.sampling import Sampling
from ldm_jax.diffusion.settings import Diffusion
from ldm_jax.errors import InputError
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.weights import table
from ldm_jax.weights.formats import diffusers_folder
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.names import clip, diffusers_model
from ldm_jax.weights.table import Renamed

INDEX = "model_index.json"
KEPT = "diffusers"  # folder of a run with what came beside the weights
# a component -> where its weights are here, beside captions
PARTS = {"unet": "denoiser", "vae": "first_stage", "text_encoder": "conditioner"}
BESIDE = {"image_encoder": "conditioner/beside/tower", "image_normalizer": "conditioner/beside"}
VARIED = {"unet": "denoiser", "vae": "first_stage", "image_encoder": "conditioner/tower"}
STEM = {"text_encoder": "model", "image_encoder": "model"}  # of files with weights
VARIATION, UNCLIP = "StableDiffusionImageVariationPipeline", "StableUnCLIPImg2ImgPipeline"
PIPELINES = {  # of what stands beside latents or captions
    type(None): "StableDiffusionPipeline",
    Inpainting: "StableDiffusionInpaintPipeline",
    Depth: "StableDiffusionDepth2ImgPipeline",
    LowResolution: "StableDiffusionUpscalePipeline",
    UnCLIP: UNCLIP,
}
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
NOISING = diffusers_model.noising_scheduler(EMBEDDING_LEVELS)
TEXT = "text_model."  # before the names of the text encoder's weights
MAX_NOISE = 350  # of the published upscaler, below which levels of noise are drawn
SMALL = ("tokenizer", "scheduler", "low_res_scheduler", "feature_extractor")  # without weights
SMALL += ("image_noising_scheduler",)


def is_pipeline(source: Path) -> bool:
    """Whether a folder holds a whole model."""
    return (source / INDEX).is_file()


# Into a run


class Found(NamedTuple):
    """A component in a folder: its config.json, and its weights, read when needed."""

    settings: dict[str, Any]
    state: table.State


def import_pipeline(source: Path, run: Path, wanted: Experiment | None) -> None:
    """Imports a folder of a whole model as the run of a diffusion model.

    Args:
        wanted: what it is to be; None: as its files have it.

    Raises:
        InputError: a component is missing or of another kind, or weights are not of its network,
            and all of them are named.
    """
    with prefix_errors(source):
        parts = _parts_of(source)
        found = {name: _component(source, name, parts) for name in parts}
        described = _described(source, {name: part.settings for name, part in found.items()})
        experiment = checked(wanted or described)
        if parts != _parts(experiment):
            raise InputError(
                f"the components are {', '.join(parts)}: expected {', '.join(_parts(experiment))} "
                "for this config"
            )
        rows_of = names(experiment)
        captioned = isinstance(experiment.condition, CLIPText)
        pieces = tokenizer_of(experiment, _tokenizer_file(source)) if captioned else None
        wrong = []
        for name, part in found.items():
            shapes = {key: np.shape(part.state[key]) for key in part.state}
            there = {key: shape for key, shape in shapes.items() if not _is_counter(key)}
            wrong += [f"{name}/{line}" for line in table.mismatches(rows_of[name], there)]
        if wrong:
            raise InputError("\n".join(["these weights are not of this model:", *wrong]))
        rows = [row for name in found for row in table.under(rows_of[name], there=f"{name}/")]
        each = {f"{name}/": part.state for name, part in found.items()}
        states = [Renamed(s, {f"{name}{key}": key for key in s}) for name, s in each.items()]
        params = {"conditioner": {}} | float32(rows, ChainMap(*states))
    channels = experiment.first_stage.model.build().channels
    shift = np.zeros(channels, np.float32)
    scale = np.full_like(shift, experiment.latent_scale)
    params["first_stage"] |= {"shift": shift, "scale": scale}
    with whole(run) as unfinished:
        runs.write_imported(unfinished, experiment, params, None, pieces)
        kinds = _keep(source, unfinished / KEPT, found)
    beside = f" and {type(experiment.beside).__name__}" if experiment.beside else ""
    of = "captions" if captioned else type(experiment.condition).__name__
    print(f"{source}: a model of {of}{beside} in the layout of diffusers")
    for name in parts:
        size = sum(len(row.keys) * math.prod(row.shape) for row in rows_of[name])
        print(f"{name}: {size:,} parameters")
    if kinds:
        print(f"weights of {', '.join(sorted(set(kinds.values())))} become float32")
    folders = [p.name for p in sorted(source.iterdir()) if p.is_dir()]
    left = [name for name in folders if name not in (*parts, *SMALL)]
    if left:
        print(f"left out: {', '.join(left)}, which no model here reads")
    say_tokenizer(run, experiment)
    print(f"{run}: draw with sample.py {run}")


def _parts_of(source: Path) -> dict[str, str]:
    """The components with weights of a folder's kind, see `PARTS`.

    Raises:
        InputError: a pipeline of another family.
    """
    kind = diffusers_folder.read_json(source / INDEX).get("_class_name")
    known = (*PIPELINES.values(), VARIATION, "StableDiffusionImg2ImgPipeline")
    if kind not in known:
        xl = "StableDiffusionXL" in str(kind)
        raise InputError(
            f"{INDEX} names {kind}: expected one of {', '.join(known)}"
            f"{', Stable Diffusion XL is not read yet' * xl}; "
            f"{source / 'vae'} by itself is read as a first stage"
        )
    return VARIED if kind == VARIATION else PARTS | (BESIDE if kind == UNCLIP else {})


def _parts(experiment: Experiment) -> dict[str, str]:
    """The same of a config."""
    if isinstance(experiment.condition, CLIPImage):
        return VARIED
    return PARTS | (BESIDE if isinstance(experiment.beside, UnCLIP) else {})


def _pipeline(experiment: Experiment) -> str:
    """The class of diffusers that draws with a model."""
    varied = isinstance(experiment.condition, CLIPImage)
    return VARIATION if varied else PIPELINES[type(experiment.beside)]


def _is_counter(key: str) -> bool:
    """Whether a key is of positions counted from 0, which older files hold as a weight."""
    return key.endswith("embeddings.position_ids")


def _component(source: Path, name: str, parts: Mapping[str, str]) -> Found:
    folder = source / name
    if not (folder / "config.json").is_file():
        listed = sorted(p.name for p in source.iterdir() if p.is_dir())
        wanted = [*parts, *["tokenizer"] * ("text_encoder" in parts)]
        raise InputError(
            f"there is no {name}/config.json: expected the components {', '.join(wanted)} "
            f"and scheduler; found {', '.join(listed) or 'none'}"
        )
    stems = (_stem(name), "pytorch_model") if name in STEM else (_stem(name),)
    state = diffusers_folder.state(diffusers_folder.weight_files(folder, stems))
    if name == "text_encoder":  # newer files do without its prefix
        state = Renamed(state, {f"{TEXT}{key.removeprefix(TEXT)}": key for key in state})
    return Found(diffusers_folder.read_json(folder / "config.json"), state)


def _stem(name: str) -> str:
    return STEM.get(name, "diffusion_pytorch_model")


def _described(source: Path, settings: Mapping[str, dict]) -> Experiment:
    """The model as the files of a folder have it."""
    path = source / "scheduler" / "scheduler_config.json"
    if not path.is_file():
        raise InputError(
            "there is no scheduler/scheduler_config.json: expected it, since it has the process"
        )
    diffusion = Diffusion(**diffusers_model.read_scheduler(diffusers_folder.read_json(path)))
    fields, seen, side = diffusers_model.read_unet(settings["unet"])
    unet = UNet(**fields)
    vae = recognise.of_diffusers(settings["vae"])
    condition, pictured = _told(source, settings)
    if len(set(vae.scale)) > 1 or any(vae.shift) or vae.left_out:
        raise InputError(
            "vae shifts or scales channels each in its own way, or has no quant_conv: expected one "
            "scaling_factor and both convolutions, as in Stable Diffusion 1 and 2"
        )
    z, factor = vae.model.z_channels, vae.model.factor
    width = settings["unet"].get("cross_attention_dim", 1280)
    if width != condition.dim:
        field = "hidden_size" if isinstance(condition, CLIPText) else "projection_dim"
        whose = "text_encoder" if isinstance(condition, CLIPText) else "image_encoder"
        raise InputError(
            f"unet has cross_attention_dim {width} and {whose} {field} {condition.dim}: "
            "expected the same"
        )
    if unet.vector_dim != (2 * pictured.dim if pictured else None):
        raise InputError(
            f"unet has projection_class_embeddings_input_dim {unet.vector_dim}: expected twice the "
            "projection_dim of image_encoder in a pipeline of unCLIP, and none elsewhere"
        )
    levels = min(MAX_NOISE, unet.vector_entries or 1)
    beside: dict[int, Condition | None] = {
        0: pictured,
        1: Depth(),
        3: LowResolution(factor=factor, max_noise=levels),
        z + 1: Inpainting(form="stable_diffusion"),
    }
    if seen - z not in beside or (seen - z == 3) != (unet.vector_entries is not None):
        raise InputError(
            f"unet has in_channels {seen} and num_class_embeds {unet.vector_entries} beside "
            f"latents of {z}: expected {z}, {z + 1} (depth), {2 * z + 1} (inpainting), or {z + 3} "
            "with num_class_embeds (upscaler)"
        )
    return Experiment(
        data=Data(image_size=side * factor),
        first_stage=FirstStageExperiment(model=vae.model),
        latent_scale=vae.scale[0],
        model=unet,
        conditions=tuple(one for one in (condition, beside[seen - z]) if one),
        diffusion=diffusion,
        sampling=Sampling(steps=min(50, diffusion.steps), guidance=7.5),
    )


def _told(source: Path, settings: Mapping[str, dict]) -> tuple[Condition, UnCLIP | None]:
    """The condition with tokens, and the image condition in addition to captions."""
    if "text_encoder" not in settings:
        return CLIPImage(**diffusers_model.read_vision(settings["image_encoder"])), None
    text = CLIPText(**diffusers_model.read_text(settings["text_encoder"]))
    if "image_encoder" not in settings:
        return text, None
    path = source / "image_noising_scheduler" / "scheduler_config.json"
    if not path.is_file():
        raise InputError(
            "there is no image_noising_scheduler/scheduler_config.json: expected it, since it has "
            "the noise on embeddings"
        )
    noising = diffusers_folder.read_json(path)
    for name in ("beta_schedule", "num_train_timesteps"):
        if noising.get(name) != NOISING[name]:
            raise InputError(
                f"image_noising_scheduler has {name} {noising.get(name)}: expected "
                f"{NOISING[name]}, as is here"
            )
    return text, UnCLIP(**diffusers_model.read_vision(settings["image_encoder"]))


def _tokenizer_file(source: Path) -> Path:
    found = find_tokenizer(source / "tokenizer")
    if found is None:
        raise InputError(
            "there is no tokenizer: expected tokenizer/tokenizer.json or tokenizer/merges.txt"
        )
    return found


def names(experiment: Experiment) -> dict[str, table.Table]:
    """The rows of each component in the names of diffusers, under the parts' names here."""
    prefix = f"{PARTS['unet']}/"
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
    parts = _parts(experiment)
    if "text_encoder" in parts:
        own["text_encoder"] = clip.transformers_names(experiment.condition)
    if "image_encoder" in parts:
        tower = _tower(experiment)
        own["image_encoder"] = clip.vision_tower(tower.architecture)
        own["image_normalizer"] = diffusers_model.normalizer_names(tower.dim)
    return {name: table.under(own[name], f"{part}/") for name, part in parts.items()}


def _tower(experiment: Experiment) -> CLIPImage:
    """The image encoder of a model that has one."""
    return experiment.beside or experiment.condition


def _keep(source: Path, kept: Path, found: Mapping[str, Found]) -> dict[str, str]:
    """Keeps what is said beside the weights, so that it goes out as it came; other types than
    float32 by the names of weights."""
    (kept / "text").mkdir(parents=True)
    for path in sorted(source.rglob("*")):
        place = path.relative_to(source)
        own = len(place.parts) == 1 or place.parts[0] in (*found, *SMALL)
        if own and path.suffix in (".json", ".txt") and ".index." not in path.name:
            (kept / "text" / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, kept / "text" / place)
    kinds, counters = {}, {}
    for name, part in found.items():
        for key in part.state:
            weight = part.state[key]
            if _is_counter(key):
                counters[f"{name}/{key}"] = np.asarray(weight)
            elif weight.dtype != np.float32:
                kinds[f"{name}/{key}"] = str(weight.dtype)
    (kept / "types.json").write_text(json.dumps(kinds))
    if counters:
        write_weights(kept / "aside.safetensors", counters)
    return kinds


# Out of a run


class Typed(Mapping[str, np.ndarray]):
    """Weights of other types than they are stored in, made when needed."""

    def __init__(self, weights: Mapping[str, np.ndarray], kinds: Mapping[str, str]):
        """kinds: the types by name; float32 where there is none."""
        self._weights, self._kinds = weights, kinds

    def __getitem__(self, key: str) -> np.ndarray:
        return np.asarray(self._weights[key]).astype(jnp.dtype(self._kinds.get(key, "float32")))

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def export_pipeline(run: Path, destination: Path) -> None:
    """Exports the run of a model of captions or of images as a folder that diffusers reads.

    Raises:
        InputError: diffusers has no such model.
    """
    experiment = runs.load_config(run)
    told = isinstance(experiment.condition, CLIPText) or type(experiment.condition) is CLIPImage
    if not told or experiment.latent_scale == "channels":
        raise InputError(
            f"run '{run}' has condition {type(experiment.condition).__name__} and latent_scale "
            f"{experiment.latent_scale}: expected CLIPText or CLIPImage and one scale for a folder "
            "of diffusers; NAME.safetensors or NAME.ckpt for the original's layout"
        )
    if experiment.beside and type(experiment.beside) not in PIPELINES:
        raise InputError(f"diffusers has no pipeline of {type(experiment.beside).__name__}")
    captioned = isinstance(experiment.condition, CLIPText)
    pieces = runs.load_tokenizer(run, experiment) if captioned else None
    texts = _texts(run, experiment)
    rows_of, averaged = names(experiment), checkpoint.averaged_parts(run)
    trained_here = checkpoint.latest_step(run) > 0
    kept = run / KEPT
    imported = kept.is_dir() and not trained_here
    kinds = json.loads((kept / "types.json").read_text()) if imported else {}
    counters: Mapping[str, np.ndarray] = {}
    if imported and (kept / "aside.safetensors").is_file():
        counters = read_weights(kept / "aside.safetensors")
    with whole(destination) as unfinished:
        for place, content in texts.items():
            (unfinished / place).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / place).write_text(content)
        tokenized = (unfinished / "tokenizer" / "tokenizer.json").exists()
        if pieces and not tokenized and not imported:
            write_tokenizer(unfinished / "tokenizer", pieces, experiment.condition)
        for name, part in _parts(experiment).items():
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
            read = Checkpoint(rows, lambda *which: checkpoint.read_part(run, *which))
            weights = ChainMap(inside, Typed(read, own))
            write_weights(unfinished / name / f"{_stem(name)}.safetensors", weights, inside | forms)
            print(f"{name}: {len(forms)} weights{', averaged' if item == 'ema' else ''}")
    if isinstance(experiment.beside, Depth):
        print("depth_estimator is not in the folder: give the pipeline depth_map")
    print(f"{destination}: a {_pipeline(experiment)} in the layout of diffusers")


def _texts(run: Path, experiment: Experiment) -> dict[str, str]:
    """The small files of a folder by their places: as they came in, or made."""
    kept = run / KEPT / "text"
    if kept.is_dir():
        texts = {
            str(path.relative_to(kept)): path.read_text()
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
    told = experiment.condition_names()
    scale = (np.float32(_scale(run, experiment)),) * channels
    stage_experiment = replace(
        stage, data=replace(stage.data, image_size=experiment.data.image_size)
    )
    vae = describe(stage_experiment, {"shift": np.zeros(channels), "scale": np.asarray(scale)})
    unet = diffusers_model.unet_config(
        experiment.model, channels + told.concat, channels, experiment.condition.dim, side
    )
    index: dict[str, Any] = {
        "_class_name": _pipeline(experiment),
        "_diffusers_version": diffusers_model.VERSION,
    }
    parts = _parts(experiment)
    small = ["scheduler", *["tokenizer"] * ("text_encoder" in parts)]
    if "image_encoder" in parts:
        small.append("feature_extractor")
    if "image_normalizer" in parts:
        small.append("image_noising_scheduler")
    index |= {name: list(LIBRARIES[name]) for name in (*parts, *small)}
    texts = {
        "unet/config.json": as_json(unet),
        "vae/config.json": as_json(vae.model.diffusers_config(vae)),
        "scheduler/scheduler_config.json": as_json(
            diffusers_model.scheduler_config(experiment.diffusion)
        ),
    }
    if "text_encoder" in parts:
        texts["text_encoder/config.json"] = as_json(
            diffusers_model.text_config(experiment.condition)
        )
    if "image_encoder" in parts:
        tower = _tower(experiment)
        texts["image_encoder/config.json"] = as_json(diffusers_model.vision_config(tower))
        texts["feature_extractor/preprocessor_config.json"] = as_json(
            diffusers_model.preprocessor_config(tower.size)
        )
    if "image_normalizer" in parts:
        settings = {"_class_name": diffusers_model.NORMALIZER, "embedding_dim": tower.dim}
        texts["image_normalizer/config.json"] = as_json(settings)
        texts["image_noising_scheduler/scheduler_config.json"] = as_json(NOISING)
    elif isinstance(experiment.beside, LowResolution):
        index["low_res_scheduler"] = ["diffusers", "DDPMScheduler"]
        index["max_noise_level"] = experiment.beside.max_noise
        texts["low_res_scheduler/scheduler_config.json"] = as_json(
            diffusers_model.low_res_scheduler(LEVELS, BETAS)
        )
    else:
        index |= {"feature_extractor": [None, None]} if "image_encoder" not in parts else {}
        index["safety_checker"] = [None, None]
    if isinstance(experiment.beside, Depth):
        del index["safety_checker"]
        index["depth_estimator"] = [None, None]
    return texts | {INDEX: as_json(index)}


def _scale(run: Path, experiment: Experiment) -> float:
    if experiment.latent_scale != "one":
        return experiment.latent_scale
    return float(checkpoint.read_part(run, "params", "first_stage")["scale"][0])
