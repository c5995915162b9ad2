"""Writes the config of a run and the names in it."""

import pprint
from pathlib import Path

from tokenizers import Tokenizer

from ldm_jax import checkpoint
from ldm_jax.data import pipeline
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.runs.paths import AnyExperiment
from ldm_jax.runtime import hosts
from ldm_jax.types import Params


def write(
    run: Path,
    experiment: AnyExperiment,
    tokenizer: Tokenizer | None,
    info: pipeline.DataInfo,
) -> None:
    """Writes config, tokenizer and names; one host of all does."""
    if not hosts.is_first():
        return
    run.mkdir(parents=True, exist_ok=True)
    if tokenizer and not (run / "tokenizer.json").exists():
        write_whole(run / "tokenizer.json", tokenizer.to_str(pretty=True))
    if info.class_names:
        write_whole(run / "classes.txt", "".join(f"{name}\n" for name in info.class_names))
    if info.object_names:
        write_whole(run / "objects.txt", "".join(f"{name}\n" for name in info.object_names))
    write_whole(run / "config.py", as_python(experiment))


def write_imported(
    run: Path,
    experiment: Experiment | FirstStageExperiment,
    params: Params,
    ema: Params | None = None,
    tokenizer: Tokenizer | None = None,
) -> None:
    """Writes the run of what was trained elsewhere.

    Args:
        ema: averages of some parts of params.
    """
    run.mkdir(parents=True, exist_ok=True)
    checkpoint.save_weights(run, params, ema)
    if tokenizer:
        write_whole(run / "tokenizer.json", tokenizer.to_str(pretty=True))
    write_whole(run / "config.py", as_python(experiment))


def copy_names(run: Path, to: Path) -> None:
    """Copies the names of classes, where there are any."""
    for name in ("classes.txt", "objects.txt"):
        if (run / name).exists():
            write_whole(to / name, (run / name).read_text())


def write_whole(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(text)
    unfinished.replace(path)


def as_python(experiment: AnyExperiment) -> str:
    """The experiment as a config file."""
    body = pprint.pformat(experiment, indent=4, width=96, sort_dicts=False)
    return f"from ldm_jax.config import *  # noqa: F403\n\nconfig = {body}\n"
