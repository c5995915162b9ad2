"""Runs: folders that hold a config, its checkpoints and what training wrote.

RUN/config.py            the resolved config, runnable Python
RUN/tokenizer.json       where captions are read
RUN/classes.txt          names of the classes, where there are any
RUN/objects.txt          names of the classes of what lies in boxes, where there are any
RUN/checkpoints/STEP/    see checkpoint/; RUN/digests/STEP.json: of its files
RUN/snapshots/STEP/      averages that are kept, see train/power_ema.py
RUN/damaged/STEP/        checkpoints that could not be read
RUN/profile/             traces, where train.profile_steps asks for them
RUN/metrics.csv, RUN/events.out.tfevents.*, RUN/samples/STEP.png
RUN/evaluation/          statistics of what samples are measured against while training goes on
RUN/aside.safetensors    what a converted checkpoint held besides the model
RUN/first_stage/         the first stage's run, where it was trained on the way

RUN stands for its newest checkpoint. Whatever reads a run also takes RUN/checkpoints/STEP, another
one of them, and RUN/checkpoints/best, the best by train.best.
"""

import pprint
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from tokenizers import Tokenizer

from ldm_jax import build, checkpoint, cli, hosts, memory
from ldm_jax.clip.model import CLIP
from ldm_jax.conditioning import tokenizer as tokens
from ldm_jax.config import (
    ClassifierExperiment,
    CLIPExperiment,
    Experiment,
    FirstStageExperiment,
    Text,
)
from ldm_jax.data import pipeline
from ldm_jax.errors import InputError
from ldm_jax.sharding import devices
from ldm_jax.train.contrastive_step import init_clip
from ldm_jax.types import FirstStage, LatentClassifier, LatentDiffusion, Params

AnyExperiment = Experiment | FirstStageExperiment | ClassifierExperiment | CLIPExperiment
KINDS = {
    Experiment: "a diffusion model",
    FirstStageExperiment: "a first stage",
    ClassifierExperiment: "a classifier",
    CLIPExperiment: "a CLIP",
}


class Place(NamedTuple):
    """A run, and the step of one of its checkpoints; None: the newest that can be read."""

    run: Path
    which: int | None = None


def locate(place: Path | str) -> Place:
    """What RUN, RUN/checkpoints/STEP or RUN/checkpoints/best stands for.

    Raises:
        InputError: the run has no such checkpoint.
    """
    place = Path(place)
    run, word = place.parent.parent, place.name
    if place.parent.name != "checkpoints" or (place / "config.py").exists():
        return Place(place)
    if not (run / "config.py").exists():  # which is told as for any other folder
        return Place(run)
    found = checkpoint.steps(run)
    listed = ", ".join(map(str, sorted(found))) or "none, train it first with train.py"
    if word == "best":
        metric = _read_config(run).train.best
        if not metric:
            raise InputError(
                f"run '{run}' has no best checkpoint, since train.best is not set: expected one of "
                f"{listed}"
            )
        step = checkpoint.best_step(run, metric)
        if step is None:
            raise InputError(
                f"run '{run}' has no checkpoint that was saved with {metric}, its train.best: "
                f"expected one of {listed}"
            )
        return Place(run, step)
    if not word.isdecimal() or int(word) not in found:
        best = "best or " * bool(_read_config(run).train.best)
        raise InputError(f"run '{run}' has no checkpoint '{word}': expected {best}one of {listed}")
    return Place(run, int(word))


def weights_files(place: Path | str) -> Iterator[Path]:
    """The files of the weights that `place` stands for, see `locate`; none where it has none."""
    run, which = locate(place)
    step = checkpoint.latest_step(run) if which is None else which
    return (run / "checkpoints" / str(step) / "params").glob("**/*")


def chosen(run: Path | str, which: str | None) -> Path:
    """What stands for a checkpoint of a run, by its step or as the best; None: the newest.

    Raises:
        InputError: there is no such checkpoint, or no such run.
    """
    if which is None:
        return Path(run)
    if not (Path(run) / "config.py").exists():
        raise InputError(f"--checkpoint {which} is given with '{run}': expected a run")
    found = Path(run) / "checkpoints" / which
    locate(found)
    return found


def folder(place: Path | str) -> Path:
    """The folder of a run of which this is a checkpoint, or which this is."""
    return locate(place).run


def write(
    run: Path,
    experiment: AnyExperiment,
    tokenizer: Tokenizer | None,
    info: pipeline.DataInfo,
) -> None:
    """Writes what a run says of itself, but for what training adds; one host of all does."""
    if not hosts.is_first():
        return
    run.mkdir(parents=True, exist_ok=True)
    if tokenizer and not (run / "tokenizer.json").exists():
        _write_whole(run / "tokenizer.json", tokenizer.to_str(pretty=True))
    if info.class_names:
        _write_whole(run / "classes.txt", "".join(f"{name}\n" for name in info.class_names))
    if info.object_names:
        _write_whole(run / "objects.txt", "".join(f"{name}\n" for name in info.object_names))
    _write_whole(run / "config.py", as_python(experiment))


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
        _write_whole(run / "tokenizer.json", tokenizer.to_str(pretty=True))
    _write_whole(run / "config.py", as_python(experiment))


def copy_names(run: Path, to: Path) -> None:
    """Copies the names of classes, where there are any."""
    for name in ("classes.txt", "objects.txt"):
        if (run / name).exists():
            _write_whole(to / name, (run / name).read_text())


def _write_whole(path: Path, text: str) -> None:
    """Writes a file that is never seen half-written."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(text)
    unfinished.replace(path)


def as_python(experiment: AnyExperiment) -> str:
    """The experiment as a config file."""
    body = pprint.pformat(experiment, indent=4, width=96, sort_dicts=False)
    return f"from ldm_jax.config import *  # noqa: F403\n\nconfig = {body}\n"


def first_stage_shapes(first_stage: FirstStage) -> Params:
    """The shapes of a first stage's params."""
    return jax.eval_shape(first_stage.init, jax.random.key(0))


def model_shapes(model: LatentDiffusion | LatentClassifier) -> Params:
    """The shapes of the params of a diffusion model or of a classifier."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return {**shapes, "first_stage": first_stage_shapes(model.first_stage)}


def _stored_as(shapes: Params, dtype: str | None) -> Params:
    """Shapes with another type for what has two axes or more; None: as they are."""

    def one(x):
        wide = dtype and x.ndim > 1 and jnp.issubdtype(x.dtype, jnp.floating)
        return jax.ShapeDtypeStruct(x.shape, dtype if wide else x.dtype)

    return jax.tree.map(one, shapes)


def _load_weights(place: Path, shapes: Params) -> Params:
    run, which = locate(place)
    return checkpoint.restore_weights(run, devices("jit").target(shapes), which=which)


def load_first_stage_config(place: Path) -> FirstStageExperiment:
    """The config of a run's first stage, with where it is: the run's own, or its diffusion model's.

    Raises:
        InputError: a run without one, or without a checkpoint that fits it.
    """
    run, which = locate(place)
    there = load_config(run)
    inside = isinstance(there, Experiment)
    config = there.first_stage if inside else _load_first_stage_experiment(run)
    shapes = first_stage_shapes(build.build_first_stage(config.model))
    checkpoint.check_weights(run, {"first_stage": shapes} if inside else shapes, which)
    newest = checkpoint.latest_step(run)
    if not inside and 0 < newest < config.train.steps:  # 0: trained elsewhere
        print(f"warning: first stage '{run}' has not finished its training", file=sys.stderr)
    return replace(config, run=str(run if which is None else run / "checkpoints" / str(which)))


def _load_first_stage_experiment(run: Path) -> FirstStageExperiment:
    config = load_config(run)
    if not isinstance(config, FirstStageExperiment):
        raise InputError(f"run '{run}' is {KINDS[type(config)]}: expected the run of a first stage")
    return config


def load_first_stage(place: Path, first_stage: FirstStage) -> Params:
    """The averaged weights of a first stage, of whose run or diffusion model's this is.

    The latents of its own run are unscaled, those of a diffusion model scaled as it measured.
    """
    if isinstance(load_config(place), Experiment):
        return load_scaled_first_stage(place, first_stage)
    return _load_weights(place, first_stage_shapes(first_stage))


class TrainedFirstStage(NamedTuple):
    """A trained first stage; see `Trained`."""

    run: Path
    experiment: FirstStageExperiment
    model: FirstStage
    params: Params
    class_names: tuple[str, ...]
    step: int
    which: int | None = None
    inside: bool = False  # whether the run is of a diffusion model, of which this is a part


def describe_first_stage(place: Path) -> TrainedFirstStage:
    """The first stage of a run without its weights.

    Raises:
        InputError: not a run, a run of a diffusion model, or one without a checkpoint.
    """
    run, which = locate(place)
    experiment = _load_first_stage_experiment(run)
    model, names = build.build_first_stage(experiment.model), _class_names(run)
    return TrainedFirstStage(run, experiment, model, {}, names, _step(run, which), which)


def find_first_stage(place: Path) -> TrainedFirstStage:
    """The first stage of a run of either kind, without its weights.

    It is the run itself, or a part of its diffusion model, whose checkpoint has the scale of the
    latents, too; where there is no such checkpoint yet, it is RUN/first_stage.

    Raises:
        InputError: not a run, or one without a checkpoint.
    """
    run, which = locate(place)
    if checkpoint.latest_step(run) is None and (run / "first_stage").is_dir():
        return describe_first_stage(run / "first_stage")
    config = load_config(run)
    if isinstance(config, FirstStageExperiment):
        return describe_first_stage(place)
    experiment = config.first_stage
    model, names = build.build_first_stage(experiment.model), _class_names(run)
    return TrainedFirstStage(run, experiment, model, {}, names, _step(run, which), which, True)


class Trained(NamedTuple):
    """A trained latent diffusion model.

    step:  of the checkpoint
    which: the same where it was chosen; None: the newest that can be read
    """

    run: Path
    experiment: Experiment
    model: LatentDiffusion
    params: Params
    tokenizer: Tokenizer | None
    class_names: tuple[str, ...]
    step: int
    which: int | None = None


def load_scaled_first_stage(place: Path, first_stage: FirstStage) -> Params:
    """The weights of a diffusion model's first stage, with the scale that was measured for it."""
    return _load_weights(place, {"first_stage": first_stage_shapes(first_stage)})["first_stage"]


class TrainedClassifier(NamedTuple):
    """A trained classifier of noised latents; see `Trained`."""

    run: Path
    experiment: ClassifierExperiment
    model: LatentClassifier
    params: Params
    class_names: tuple[str, ...]
    step: int
    which: int | None = None


def describe_classifier(place: Path) -> TrainedClassifier:
    """The classifier of a run without its weights.

    Raises:
        InputError: not a run, a run of something else, or one without a checkpoint.
    """
    run, which = locate(place)
    experiment = load_config(run)
    if not isinstance(experiment, ClassifierExperiment):
        raise InputError(
            f"run '{run}' is no classifier: expected the run of one, trained with a config such as "
            "configs/small-classifier.py"
        )
    step = _step(run, which)
    model = build.build_classifier(experiment)
    return TrainedClassifier(run, experiment, model, {}, _class_names(run), step, which)


class TrainedCLIP(NamedTuple):
    """Trained towers of pictures and captions; see `Trained`."""

    run: Path
    experiment: CLIPExperiment
    model: CLIP
    params: Params
    tokenizer: Tokenizer
    step: int


def load_clip(place: Path) -> TrainedCLIP:
    """The towers of a run, with their averaged weights.

    Raises:
        InputError: not a run, a run of something else, or one without a checkpoint.
    """
    run, which = locate(place)
    experiment = load_config(run)
    if not isinstance(experiment, CLIPExperiment):
        raise InputError(
            f"run '{run}' is {KINDS[type(experiment)]}: expected the run of a CLIP, trained with a "
            "config such as configs/small-clip.py"
        )
    step, model = _step(run, which), build.build_clip(experiment)
    shapes = jax.eval_shape(lambda key: init_clip(model, experiment.loss, key), jax.random.key(0))
    tokenizer = tokens.load(run / "tokenizer.json", experiment.model.length)
    params = _load_weights(place, shapes)["clip"]
    return TrainedCLIP(run, experiment, model, params, tokenizer, step)


def load(place: Path) -> Trained:
    """The model of a run, with its averaged weights.

    Raises:
        InputError: not a run, a run of a first stage, or one without a checkpoint that fits it.
    """
    return with_weights(describe(place))


def with_weights(
    described: Trained | TrainedFirstStage | TrainedClassifier, dtype: str | None = None
) -> Trained | TrainedFirstStage | TrainedClassifier:
    """What one of the functions that describe gave, with its averaged weights.

    Args:
        dtype: of weights of two axes or more, which are nearly all; the rest, biases, norms and the
            scale of latents, stays as it is. None: as saved.
    """
    run, which = described.run, described.which
    place = run if which is None else run / "checkpoints" / str(which)
    if isinstance(described, Trained | TrainedClassifier):
        params = _load_weights(place, _stored_as(model_shapes(described.model), dtype))
    elif described.inside:
        params = load_scaled_first_stage(place, described.model)
    else:
        params = _load_weights(place, first_stage_shapes(described.model))
    memory.give_back()
    return described._replace(params=params)


def describe_any(place: Path) -> Trained | TrainedFirstStage:
    """The model of a run of either kind, without its weights."""
    of_first_stage = isinstance(load_config(place), FirstStageExperiment)
    return (describe_first_stage if of_first_stage else describe)(place)


def describe(place: Path) -> Trained:
    """The model of a run without its weights: all that it takes to check a request.

    Raises:
        InputError: not a run, a run of a first stage, or one without a checkpoint.
    """
    run, which = locate(place)
    experiment = load_config(run)
    if not isinstance(experiment, Experiment):
        raise InputError(
            f"run '{run}' is {KINDS[type(experiment)]}: expected the run of a diffusion model, "
            "trained with a config such as configs/demo.py"
        )
    step = _step(run, which)
    return describe_files(run, run, step)._replace(which=which)


def describe_files(folder: Path, run: Path, step: int) -> Trained:
    """The model of config.py, tokenizer.json and classes.txt in a folder, without its weights.

    Args:
        run, step: of which it is a description.
    """
    experiment, tokenizer = _read_config(folder), None
    if isinstance(experiment.condition, Text):
        tokenizer = load_tokenizer(folder, experiment)
    model = build.build_model(experiment, tokenizer)
    return Trained(run, experiment, model, {}, tokenizer, _class_names(folder), step)


def write_description(folder: Path, trained: Trained) -> None:
    """Writes what `describe_files` reads."""
    if trained.tokenizer:
        _write_whole(folder / "tokenizer.json", trained.tokenizer.to_str(pretty=True))
    if trained.class_names:
        names = "".join(f"{name}\n" for name in trained.class_names)
        _write_whole(folder / "classes.txt", names)
    _write_whole(folder / "config.py", as_python(trained.experiment))


def load_tokenizer(place: Path, experiment: Experiment) -> Tokenizer:
    """The tokenizer of a run that reads captions.

    Raises:
        InputError: it has none, as a model that was converted without.
    """
    run = folder(place)
    path, condition = run / "tokenizer.json", experiment.condition
    if not path.exists():
        raise InputError(
            f"run '{run}' has no tokenizer.json: expected one of {condition.vocab_size} pieces; "
            "convert it with --tokenizer, for the published models tokenizer.json or vocab.txt of "
            "bert-base-uncased"
        )
    return tokens.load(path, condition.length)


def _step(run: Path, which: int | None) -> int:
    step = checkpoint.latest_step(run) if which is None else which
    if step is None:
        raise InputError(f"run '{run}' has no checkpoint: train it first with train.py")
    return step


def _class_names(run: Path) -> tuple[str, ...]:
    return _lines(run / "classes.txt")


def object_names(place: Path) -> tuple[str, ...]:
    """Names of the classes of what lies in boxes; () where they have none."""
    return _lines(folder(place) / "objects.txt")


def _lines(file: Path) -> tuple[str, ...]:
    return tuple(file.read_text().splitlines()) if file.exists() else ()


def is_run(place: Path | str) -> bool:
    """Whether this is a run, or a checkpoint of one."""
    return (folder(place) / "config.py").exists()


def load_config(place: Path) -> AnyExperiment:
    """The config of a run.

    Raises:
        InputError: not a run.
    """
    return _read_config(folder(place))


def _read_config(run: Path) -> AnyExperiment:
    if not run.exists():
        raise InputError(f"run '{run}' does not exist: expected a folder that train.py wrote")
    if not (run / "config.py").exists():
        raise InputError(
            f"'{run}' is not a run: it has no config.py; train one with train.py, or make one of a "
            "model from elsewhere with scripts/convert.py"
        )
    return cli.load_config(run / "config.py")
