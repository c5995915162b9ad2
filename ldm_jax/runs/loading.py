"""A model of whatever kind: what it is first, then its weights."""

from pathlib import Path

from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.runs.classifier import TrainedClassifier
from ldm_jax.runs.diffusion import Trained, describe
from ldm_jax.runs.first_stage import (
    TrainedFirstStage,
    describe_first_stage,
    load_scaled_first_stage,
)
from ldm_jax.runs.paths import load_config
from ldm_jax.runs.weights import first_stage_shapes, load_weights, model_shapes, stored_as
from ldm_jax.runtime import memory


def describe_any(place: Path) -> Trained | TrainedFirstStage:
    """The model of a run of either kind, without its weights."""
    of_first_stage = load_config(place).kind == FirstStageExperiment.kind
    return (describe_first_stage if of_first_stage else describe)(place)


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
        params = load_weights(place, stored_as(model_shapes(described.model), dtype))
    elif described.inside:
        params = load_scaled_first_stage(place, described.model)
    else:
        params = load_weights(place, first_stage_shapes(described.model))
    memory.give_back()
    return described._replace(params=params)


def load(place: Path) -> Trained:
    """The model of a run, with its averaged weights.

    Raises:
        InputError: not a run, a run of a first stage, or one without a checkpoint that fits it.
    """
    return with_weights(describe(place))
