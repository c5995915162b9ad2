"""First stages: of a run of their own, or of the run of a diffusion model."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ldm_jax import checkpoint
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.runs.names import class_names_of
from ldm_jax.runs.paths import load_config, load_config_of, locate, step_of
from ldm_jax.runs.weights import first_stage_shapes, load_weights
from ldm_jax.types import FirstStage, Params


def load_first_stage_config(place: Path) -> FirstStageExperiment:
    """The config of a run's first stage, with where it is: the run's own, or its diffusion model's.

    Raises:
        InputError: a run without one, or without a checkpoint that fits it.
    """
    run, which = locate(place)
    there = load_config(run)
    inside = there.kind == Experiment.kind
    config = there.first_stage if inside else load_config_of(run, FirstStageExperiment)
    shapes = first_stage_shapes(config.model.build())
    checkpoint.check_weights(run, {"first_stage": shapes} if inside else shapes, which)
    newest = checkpoint.latest_step(run)
    if not inside and 0 < newest < config.train.steps:  # 0: trained elsewhere
        print(f"warning: first stage '{run}' has not finished its training", file=sys.stderr)
    return replace(config, run=str(run if which is None else run / "checkpoints" / str(which)))


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
    experiment = load_config_of(run, FirstStageExperiment)
    model, names = experiment.model.build(), class_names_of(run)
    return TrainedFirstStage(run, experiment, model, {}, names, step_of(run, which), which)


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
    experiment = getattr(config, "first_stage", None)
    if experiment is None:
        return describe_first_stage(place)
    model, names = experiment.model.build(), class_names_of(run)
    return TrainedFirstStage(run, experiment, model, {}, names, step_of(run, which), which, True)
