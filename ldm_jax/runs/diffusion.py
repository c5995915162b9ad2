"""Latent diffusion models."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.runs.names import class_names_of, load_tokenizers
from ldm_jax.runs.paths import load_config_of, locate, read_config, step_of
from ldm_jax.runs.writing import as_python, write_tokenizers, write_whole
from ldm_jax.types import DiffusionModel, Params


class Trained(NamedTuple):
    """A trained latent diffusion model.

    tokenizers: of captions, by the entry of a batch that they fill
    step:       of the checkpoint
    which:      the same where it was chosen; None: the newest that can be read
    """

    run: Path
    experiment: Experiment
    model: DiffusionModel
    params: Params
    tokenizers: Mapping[str, Tokenizer]
    class_names: tuple[str, ...]
    step: int
    which: int | None = None


def describe(place: Path) -> Trained:
    """The model of a run without its weights: all that it takes to check a request.

    Raises:
        InputError: not a run, a run of a first stage, or one without a checkpoint.
    """
    run, which = locate(place)
    load_config_of(run, Experiment)
    step = step_of(run, which)
    return describe_files(run, run, step)._replace(which=which)


def describe_files(folder: Path, run: Path, step: int) -> Trained:
    """The model of config.py, the tokenizers and classes.txt in a folder, without its weights.

    Args:
        run, step: of which it is a description.
    """
    experiment = read_config(folder)
    tokenizers = load_tokenizers(folder, experiment)
    model = experiment.build(tokenizers)
    return Trained(run, experiment, model, {}, tokenizers, class_names_of(folder), step)


def write_description(folder: Path, trained: Trained) -> None:
    """Writes what `describe_files` reads."""
    write_tokenizers(folder, trained.tokenizers)
    if trained.class_names:
        names = "".join(f"{name}\n" for name in trained.class_names)
        write_whole(folder / "classes.txt", names)
    write_whole(folder / "config.py", as_python(trained.experiment))
