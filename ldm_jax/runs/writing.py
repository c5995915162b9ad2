"""What a run says of itself, written: its config and the names in it."""

import pprint
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tokenizers import Tokenizer

from ldm_jax import checkpoint
from ldm_jax.data import pipeline
from ldm_jax.errors import InputError
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.runs.names import tokenizer_file
from ldm_jax.runs.paths import AnyExperiment, read_config
from ldm_jax.runtime import hosts
from ldm_jax.runtime.files import write_whole
from ldm_jax.types import Params

WRITTEN = ("config.py", "classes.txt", "objects.txt", "metrics.csv", "init_from.txt")


def write(
    run: Path,
    experiment: AnyExperiment,
    tokenizers: Mapping[str, Tokenizer],
    info: pipeline.DataInfo,
) -> None:
    """Writes what a run says of itself, but for what training adds; one host of all does."""
    if not hosts.is_first():
        return
    run.mkdir(parents=True, exist_ok=True)
    new = {name: x for name, x in tokenizers.items() if not (run / tokenizer_file(name)).exists()}
    found = _findable(experiment)
    write_description(run, found, new, info.class_names, info.object_names)


def check_new(run: Path) -> None:
    """Raises InputError where a folder without checkpoints has files that a run would write over,
    and a config.py that train.py has not written, or none."""
    there = [name for name in WRITTEN if (run / name).exists()]
    if not there:
        return
    try:
        own = as_python(read_config(run)) == (run / "config.py").read_text("utf-8")
    except (InputError, OSError, ValueError):
        own = False
    if not own:
        raise InputError(
            f"--workdir '{run}' has '{there[0]}', which train.py has not written and would write "
            "over: expected another folder"
        )


def _findable(experiment: Any) -> Any:
    """With the places of data and of other runs as they are found from another folder, too."""
    data, first_stage, changed = experiment.data, getattr(experiment, "first_stage", None), {}
    if data.path and data.path != "shapes" and not data.path.startswith("tfds:"):
        changed["data"] = replace(data, path=str(Path(data.path).expanduser().absolute()))
    for name in ("run", "diffusion_run", "base"):
        if place := getattr(experiment, name, None):
            changed[name] = str(Path(place).absolute())
    if first_stage is not None:
        changed["first_stage"] = _findable(first_stage)
    return replace(experiment, **changed)


def write_imported(
    run: Path,
    experiment: Experiment | FirstStageExperiment,
    params: Params,
    ema: Params | None = None,
    tokenizers: Mapping[str, Tokenizer] = MappingProxyType({}),
) -> None:
    """Writes the run of what was trained elsewhere.

    Args:
        ema: averages of some parts of params.
    """
    run.mkdir(parents=True, exist_ok=True)
    checkpoint.save_weights(run, params, ema)
    write_description(run, experiment, tokenizers)


def write_description(
    folder: Path,
    experiment: AnyExperiment,
    tokenizers: Mapping[str, Tokenizer],
    class_names: Sequence[str] = (),
    object_names: Sequence[str] = (),
) -> None:
    """Writes what `loading.describe_files` reads."""
    write_tokenizers(folder, tokenizers)
    write_whole(folder / "config.py", as_python(experiment))  # before names: see `check_new`
    for file, names in (("classes.txt", class_names), ("objects.txt", object_names)):
        if names:
            write_whole(folder / file, "".join(f"{name}\n" for name in names))


def write_tokenizers(folder: Path, tokenizers: Mapping[str, Tokenizer]) -> None:
    """Writes what `names.load_tokenizers` reads."""
    for entry, tokenizer in tokenizers.items():
        write_whole(folder / tokenizer_file(entry), tokenizer.to_str(pretty=True))


def copy_names(run: Path, to: Path) -> None:
    """Copies the names of classes, where there are any."""
    for name in ("classes.txt", "objects.txt"):
        if (run / name).exists():
            write_whole(to / name, (run / name).read_text("utf-8"))


def as_python(experiment: AnyExperiment) -> str:
    """The experiment as a config file."""
    body = pprint.pformat(experiment, indent=4, width=96, sort_dicts=False)
    return f"from ldm_jax.config import *  # noqa: F403\n\nconfig = {body}\n"
