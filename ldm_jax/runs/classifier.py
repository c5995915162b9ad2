"""Classifiers of noised latents."""

from pathlib import Path
from typing import NamedTuple

from ldm_jax.experiments.classifier import ClassifierExperiment
from ldm_jax.runs.names import class_names_of
from ldm_jax.runs.paths import load_config_of, locate, step_of
from ldm_jax.types import LatentClassifier, Params


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
    experiment = load_config_of(run, ClassifierExperiment)
    step = step_of(run, which)
    model = experiment.build()
    return TrainedClassifier(run, experiment, model, {}, class_names_of(run), step, which)
