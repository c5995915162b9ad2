"""Runs of a CLIP."""

from pathlib import Path
from typing import NamedTuple

import jax
from tokenizers import Tokenizer

from ldm_jax.encoders.clip.model import CLIP
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.experiments.clip import CLIPExperiment
from ldm_jax.runs.paths import load_config_of, locate, step_of
from ldm_jax.runs.weights import load_weights
from ldm_jax.train_step.contrastive import init_clip
from ldm_jax.types import Params


class TrainedCLIP(NamedTuple):
    """A trained CLIP; see `Trained`."""

    run: Path
    experiment: CLIPExperiment
    model: CLIP
    params: Params
    tokenizer: Tokenizer
    step: int


def load_clip(place: Path) -> TrainedCLIP:
    """The encoders of a run, with their averaged weights.

    Raises:
        InputError: not a run, a run of something else, or one without a checkpoint.
    """
    run, which = locate(place)
    experiment = load_config_of(run, CLIPExperiment)
    step, model = step_of(run, which), experiment.build()
    shapes = jax.eval_shape(lambda key: init_clip(model, experiment.loss, key), jax.random.key(0))
    tokenizer = tokens.load(run / "tokenizer.json", experiment.model.length)
    params = load_weights(place, shapes)["clip"]
    return TrainedCLIP(run, experiment, model, params, tokenizer, step)
