"""Runs of an unCLIP as Karlo's files: one by its authors' names, all as a pipeline of diffusers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ldm_jax import runs
from ldm_jax.convert.karlo import INDEX, PIPELINES, RUNS, STATISTICS, STEM, tables
from ldm_jax.convert.paths import FILES, as_json
from ldm_jax.convert.tokenizer_files import write_tokenizer
from ldm_jax.errors import InputError
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.runtime.files import whole, whole_folder
from ldm_jax.weights.formats.diffusers_folder import WEIGHTS
from ldm_jax.weights.formats.files import write_weights
from ldm_jax.weights.formats.torch_writer import write_tree
from ldm_jax.weights.names import clip as clip_names
from ldm_jax.weights.names.diffusers_model import VERSION, text_config
from ldm_jax.weights.names.karlo import PREFIXES
from ldm_jax.weights.table import to_original

SCHEDULER = {"_class_name": "UnCLIPScheduler", "beta_schedule": "squaredcos_cap_v2"}
LIBRARIES = {  # component -> library and class
    "prior": ("diffusers", "PriorTransformer"),
    "decoder": ("diffusers", "UNet2DConditionModel"),
    "text_encoder": ("transformers", "CLIPTextModelWithProjection"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "text_proj": ("unclip", "UnCLIPTextProjModel"),
    "super_res_first": ("diffusers", "UNet2DModel"),
    "super_res_last": ("diffusers", "UNet2DModel"),
}


def holds_runs(source: Path) -> bool:
    """Whether a folder holds the three runs of an unCLIP."""
    return all((source / name / "config.py").is_file() for name in RUNS)


def _opened(run: Path) -> tuple[str, runs.Trained, dict[str, Any]]:
    """Which part of Karlo a run is, the run, and its params with embeddings as they are normalised.

    Raises:
        InputError: it is none.
    """
    described = runs.describe(run)
    part = described.experiment.model.karlo
    if part is None:
        raise InputError(f"run '{run}' is no part of an unCLIP: expected its {', '.join(RUNS)}")
    if part == "upsampler" and described.experiment.diffusion.learned_variance:
        raise InputError(f"run '{run}' learns its variance: expected none, as Karlo's upsampler")
    trained = runs.with_weights(described)
    params = jax.tree.map(np.asarray, trained.params)
    if part == "prior":  # (e - mean) / std, minus the shift and times the scale
        own = params["first_stage"]
        mean = own["mean"] + own["std"] * own["shift"]
        params["first_stage"] = own | {"mean": mean, "std": own["std"] / own["scale"]}
    return part, trained, params


def export_part(run: Path, destination: Path) -> None:
    """Writes a run as its authors' file; of a prior, the statistics of embeddings beside it.

    Raises:
        InputError: it is no part of Karlo.
    """
    part, trained, params = _opened(run)
    if destination.suffix not in FILES:
        raise InputError(
            f"'{destination}' is no name of a file: expected NAME.ckpt for the {part} alone, or as "
            f"SOURCE the folder with the runs {', '.join(RUNS)}"
        )
    ((_, rows),) = tables(part, trained.experiment, "original").items()
    state = to_original(rows, params["denoiser"])
    state = {f"{PREFIXES[part]}{key}": x for key, x in state.items()}
    write_weights(destination, state)
    print(f"{destination}: {len(state)} weights in the layout of Karlo's {part}")
    if part == "prior":
        own, beside = params["first_stage"], destination.with_suffix(STATISTICS)
        with whole(beside) as unfinished, unfinished.open("wb") as file:
            write_tree(file, (own["mean"], own["std"]))
        print(f"{beside}: mean and deviation of image embeddings")


def export_karlo(source: Path, destination: Path) -> None:
    """Writes the runs of prior, decoder and upsampler as a folder that diffusers reads.

    Raises:
        InputError: runs that do not belong together.
    """
    if destination.suffix in FILES:
        raise InputError(
            f"'{destination}' is named as a file: expected a folder, or as SOURCE one of the runs"
        )
    opened = [_opened(source / name) for name in RUNS]
    found = {part: (trained, params) for part, trained, params in opened}
    if set(found) != set(RUNS):
        raise InputError(f"'{source}' has the runs {', '.join(found)}: expected {', '.join(RUNS)}")
    prior, decoder = (found[name][0].experiment for name in ("prior", "decoder"))
    here, there = prior.conditions[0], decoder.conditions[0]
    if not here.same_weights(there):
        raise InputError("prior and decoder have captions of other encoders: expected one CLIP's")
    if here.dim != here.embedding_dim:
        raise InputError(
            f"conditions.0.dim is {here.dim} and embedding_dim {here.embedding_dim}: expected one "
            "width, since networks of diffusers have no others; NAME.ckpt has each run by itself"
        )
    configs = _configs({name: trained.experiment for name, (trained, _) in found.items()})
    with whole_folder(destination) as unfinished:
        for part, (trained, params) in found.items():
            own = params["denoiser"]
            own = own | params["first_stage"] if part == "prior" else own
            for component, rows in tables(part, trained.experiment, "diffusers").items():
                _write(unfinished / component, configs[component], to_original(rows, own))
        trained, params = found["prior"]
        rows = clip_names.captions(here, here.embedding_dim, "transformers")
        state = to_original(rows, params["conditioner"])
        _write(unfinished / "text_encoder", configs["text_encoder"], state, STEM["text_encoder"])
        write_tokenizer(unfinished / "tokenizer", trained.tokenizer, here)
        for name, content in _schedulers(found["prior"][0].experiment).items():
            folder = unfinished / name
            folder.mkdir()
            (folder / "scheduler_config.json").write_text(as_json(content), "utf-8")
        index = {"_class_name": PIPELINES[0], "_diffusers_version": VERSION}
        index |= {name: list(x) for name, x in LIBRARIES.items()}
        index |= {f"{n}_scheduler": ["diffusers", "UnCLIPScheduler"] for n in SCHEDULED}
        (unfinished / INDEX).write_text(as_json(index), "utf-8")
    print(f"{destination}: a {PIPELINES[0]} of diffusers")


def _write(folder: Path, config: Mapping, state: Mapping, stem: str = WEIGHTS) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(as_json(config), "utf-8")
    write_weights(folder / f"{stem}.safetensors", state)


SCHEDULED = ("prior", "decoder", "super_res")


def _schedulers(prior: Experiment) -> dict[str, dict[str, Any]]:
    small = SCHEDULER | {"variance_type": "fixed_small_log"}
    limit = prior.first_stage.model.limit
    own = {
        "prior": small | {"prediction_type": "sample", "clip_sample_range": limit},
        "decoder": SCHEDULER | {"variance_type": "learned_range"},
        "super_res": small,
    }
    return {f"{name}_scheduler": own[name] for name in SCHEDULED}


def _configs(each: Mapping[str, Experiment]) -> dict[str, dict[str, Any]]:
    """Component -> its config.json."""
    prior, decoder, upsampler = (each[name].model for name in RUNS)
    caption = each["prior"].conditions[0]
    d, size = caption.embedding_dim, each["decoder"].data.image_size
    attends = [2**n in decoder.attention_factors for n in range(len(decoder.channel_mults))]
    kinds = {True: "SimpleCrossAttn{}Block2D", False: "Resnet{}sampleBlock2D"}
    plain = [False] * len(upsampler.channel_mults)

    def blocks(attends: list[bool]) -> dict[str, list[str]]:
        return {
            "down_block_types": [kinds[a].format("Down") for a in attends],
            "up_block_types": [kinds[a].format("Up") for a in reversed(attends)],
        }

    large = _unet(upsampler, each["upsampler"].data.image_size, "UNet2DModel", 6, 3)
    large |= {**blocks(plain), "add_attention": False}
    return {
        "prior": {
            "_class_name": "PriorTransformer",
            "num_attention_heads": prior.num_heads,
            "attention_head_dim": prior.channels // prior.num_heads,
            "num_layers": prior.layers,
            "embedding_dim": d,
            "num_embeddings": prior.length,
        },
        "text_encoder": text_config(caption)
        | {"architectures": ["CLIPTextModelWithProjection"], "projection_dim": d},
        "text_proj": {
            "_class_name": "UnCLIPTextProjModel",
            "clip_extra_context_tokens": decoder.extra_tokens,
            "clip_embeddings_dim": d,
            "time_embed_dim": 4 * decoder.channels,
            "cross_attention_dim": decoder.context_dim,
        },
        "decoder": _unet(decoder, size, "UNet2DConditionModel", 3, 6)
        | blocks(attends)
        | {
            "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
            "cross_attention_dim": decoder.context_dim,
            "class_embed_type": "identity",
            "attention_head_dim": decoder.head_channels,
            "resnet_time_scale_shift": "scale_shift",
        },
        "super_res_first": large,
        "super_res_last": large,
    }


def _unet(unet: Any, size: int, kind: str, i: int, o: int) -> dict[str, Any]:
    """What the config.json of both kinds have in common."""
    return {
        "_class_name": kind,
        "sample_size": size,
        "in_channels": i,
        "out_channels": o,
        "layers_per_block": unet.num_res_blocks,
        "block_out_channels": [mult * unet.channels for mult in unet.channel_mults],
        "norm_num_groups": unet.norm_groups,
    }
