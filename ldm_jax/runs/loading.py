"""The model of a run: what it is first (`describe` and the like), then its weights."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from tokenizers import Tokenizer

from ldm_jax import checkpoint
from ldm_jax.experiments import (
    AnyExperiment,
    ClassifierExperiment,
    CLIPExperiment,
    Experiment,
    FirstStageExperiment,
)
from ldm_jax.runs.names import class_names_of, load_tokenizers
from ldm_jax.runs.paths import Place, load_config, load_config_of, locate, read_config, step_of
from ldm_jax.runtime import memory
from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step.contrastive import init_clip
from ldm_jax.types import DiffusionModel, FirstStage, LatentClassifier, Params

NO_TOKENIZERS: Mapping[str, Tokenizer] = MappingProxyType({})


class Trained(NamedTuple):
    """What a run has trained.

    model:      a DiffusionModel, FirstStage, LatentClassifier or CLIP
    params:     {} before `with_weights`
    tokenizers: of captions, by the entry of a batch that they fill
    step:       of the checkpoint
    which:      the same where it was chosen; None: the newest that can be read
    inside:     whether this is the first stage within a diffusion model's run
    adapters:   that are attached to it, see `adapters.attach`
    base:       the same without them
    join:       params of the base -> those with what is attached
    """

    run: Path
    experiment: AnyExperiment
    model: Any
    params: Params
    tokenizers: Mapping[str, Tokenizer]
    class_names: tuple[str, ...]
    step: int
    which: int | None = None
    inside: bool = False
    adapters: tuple[Any, ...] = ()
    base: "Trained | None" = None
    join: Callable[[Params], Params] | None = None

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The first tokenizer; None where no captions are read."""
        return next(iter(self.tokenizers.values()), None)


def describe(place: Path, kind: type[AnyExperiment] = Experiment) -> Trained:
    """What a run of this kind has trained, without its weights: all that it takes to check a
    request.

    Raises:
        InputError: not a run, a run of something else, or one without a checkpoint.
    """
    found = locate(place)
    load_config_of(found.run, kind)
    return describe_files(found.run, found.run, step_of(found))._replace(which=found.which)


def describe_files(folder: Path, run: Path, step: int) -> Trained:
    """The model of config.py, the tokenizers and classes.txt in a folder, without its weights.

    Args:
        run, step: of which it is a description.
    """
    experiment = read_config(folder)
    tokenizers = load_tokenizers(folder, experiment)
    model = experiment.build(tokenizers)
    return Trained(run, experiment, model, {}, tokenizers, class_names_of(folder), step)


def describe_classifier(place: Path) -> Trained:
    """The classifier of a run without its weights; see `describe`."""
    return describe(place, ClassifierExperiment)


def describe_first_stage(place: Path) -> Trained:
    """The first stage of a run of its own, without its weights; see `describe`."""
    return describe(place, FirstStageExperiment)


def describe_any(place: Path) -> Trained:
    """The diffusion model or the first stage of a run, without its weights; see `describe`."""
    of_first_stage = load_config(place).kind == FirstStageExperiment.kind
    return (describe_first_stage if of_first_stage else describe)(place)


def find_first_stage(place: Path) -> Trained:
    """The first stage of a run of either kind, without its weights.

    It is the run itself, or a part of its diffusion model, whose checkpoint has the scale of the
    latents, too; where there is no such checkpoint yet, it is RUN/first_stage.

    Raises:
        InputError: not a run, or one without a checkpoint.
    """
    found = locate(place)
    run, which = found
    if found.step is None and (run / "first_stage").is_dir():
        return describe_first_stage(run / "first_stage")
    experiment = getattr(load_config(run), "first_stage", None)
    if experiment is None:
        return describe_first_stage(place)
    model, names, step = experiment.build(), class_names_of(run), step_of(found)
    return Trained(run, experiment, model, {}, NO_TOKENIZERS, names, step, which, inside=True)


def load_first_stage_config(place: Path) -> FirstStageExperiment:
    """The config of a run's first stage, with where it is: the run's own, or its diffusion model's.

    Raises:
        InputError: a run without one, or without a checkpoint that fits it.
    """
    found = locate(place)
    run, which = found
    there = load_config(run)
    inside = there.kind == Experiment.kind
    config = there.first_stage if inside else load_config_of(run, FirstStageExperiment)
    shapes = first_stage_shapes(config.build())
    checkpoint.check_weights(run, {"first_stage": shapes} if inside else shapes, which)
    if not inside and 0 < checkpoint.latest_step(run) < config.train.steps:  # 0: trained elsewhere
        print(f"warning: first stage '{run}' has not finished its training", file=sys.stderr)
    return replace(config, run=str(found.path))


def load_first_stage(place: Path, first_stage: FirstStage) -> Params:
    """The averaged weights of a first stage, of whose run or diffusion model's this is.

    The latents of its own run are unscaled, those of a diffusion model scaled as it measured.
    """
    if load_config(place).kind == Experiment.kind:
        return load_scaled_first_stage(place, first_stage)
    return load_weights(place, first_stage_shapes(first_stage))


def load_scaled_first_stage(place: Path, first_stage: FirstStage) -> Params:
    """The weights of a diffusion model's first stage, with the scale that was measured for it."""
    return load_weights(place, {"first_stage": first_stage_shapes(first_stage)})["first_stage"]


def load_clip(place: Path) -> Trained:
    """The encoders of a CLIP's run, with their averaged weights; see `describe`."""
    found = describe(place, CLIPExperiment)
    model, loss = found.model, found.experiment.loss
    shapes = jax.eval_shape(lambda key: init_clip(model, loss, key), jax.random.key(0))
    return found._replace(params=load_weights(place, shapes)["clip"])


def load(place: Path) -> Trained:
    """The diffusion model of a run, with its averaged weights; see `describe`."""
    return with_weights(describe(place))


def with_weights(described: Trained, dtype: str | None = None) -> Trained:
    """What one of the functions that describe gave, with its averaged weights.

    Args:
        dtype: of weights of two axes or more, which are nearly all; the rest, biases, norms and the
            scale of latents, stays as it is. Of diffusion models and classifiers; None: as saved.
    """
    if described.base is not None:
        return described._replace(params=described.join(with_weights(described.base, dtype).params))
    place, model = Place(described.run, described.which).path, described.model
    if described.inside:
        params = load_scaled_first_stage(place, model)
    elif described.experiment.kind == FirstStageExperiment.kind:
        params = load_weights(place, first_stage_shapes(model))
    else:
        params = load_weights(place, _stored_as(model_shapes(model), dtype))
    memory.give_back()
    return described._replace(params=params)


def first_stage_shapes(first_stage: FirstStage) -> Params:
    """The shapes of a first stage's params."""
    return jax.eval_shape(first_stage.init, jax.random.key(0))


def model_shapes(model: DiffusionModel | LatentClassifier) -> Params:
    """The shapes of the params of a diffusion model or of a classifier."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return {**shapes, "first_stage": first_stage_shapes(model.first_stage)}


def _stored_as(shapes: Params, dtype: str | None) -> Params:
    def one(x):
        wide = dtype and x.ndim > 1 and jnp.issubdtype(x.dtype, jnp.floating)
        return jax.ShapeDtypeStruct(x.shape, dtype if wide else x.dtype)

    return jax.tree.map(one, shapes)


def load_weights(place: Path, shapes: Params) -> Params:
    """The weights of these shapes, averaged where an average is kept, over all devices."""
    run, which = locate(place)
    return checkpoint.restore_weights(run, devices("jit").target(shapes), which=which)
