"""What one training is: made by first_stage.py, diffusion.py, classifier.py, clip.py and
adapter.py, done by run.py."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from tokenizers import Tokenizer

from ldm_jax import runs
from ldm_jax.train_step import power_ema
from ldm_jax.train_step.optimizer import optimizer
from ldm_jax.train_step.state import Measurement, Objective, apart, make_train_step, new_state
from ldm_jax.training.source import Source
from ldm_jax.types import Array, Params, TrainState


def _nothing(*_: Any) -> Params:
    return {}


class Frozen(NamedTuple):
    """The parts of params that files and other runs hold, and training does not change.

    names:     of the parts
    read:      (drawn parts, key) -> these parts; of none of them are the drawn ones used alone
    check:     (all parts) -> None; raises InputError where the data were encoded with other weights
    elsewhere: whether they stay in another run, from which they are read at each start
    """

    names: tuple[str, ...] = ()
    read: Callable[[Params, Array], Params] = _nothing
    check: Callable[[Params], Any] = _nothing
    elsewhere: bool = False


class Task(NamedTuple):
    """One training.

    name:        that its messages begin with
    experiment:  with all filled in that its data and other runs determine
    source:      its opened data
    tokenizers:  of captions, by the entry of a batch that they fill
    keys:        entries of a batch that a step reads, in addition to the image
    init:        key -> the parts of params that are drawn
    shapes:      of all parts of params
    objective:   what a step makes smaller
    frozen:      the parts that are read
    before:      trainings that must be done first, and their folders
    sample:      state -> a uint8 image [H, W, 3] that shows what has been learned
    measurement: what is measured in addition to the loss
    tokens:      of a condition, for each image
    prefix:      of the names of its settings in messages
    """

    name: str
    experiment: runs.AnyExperiment
    source: Source
    tokenizers: Mapping[str, Tokenizer]
    keys: tuple[str, ...]
    init: Callable[[Array], Params]
    shapes: Params
    objective: Objective
    frozen: Frozen = Frozen()
    before: tuple[tuple["Task", Path], ...] = ()
    sample: Callable[[TrainState], np.ndarray] | None = None
    measurement: Measurement = Measurement()
    tokens: int = 0
    prefix: str = ""

    def make_step(self) -> tuple[Callable, Callable[[Params], TrainState]]:
        """The train step, and what makes the state before the first from params."""
        objective, config = self.objective, self.experiment.optim
        optim = optimizer(config, self.experiment.train.steps, objective.trained)
        step = make_train_step(objective, optim, config.ema_decay)

        def begin(params: Params) -> TrainState:
            return power_ema.with_averages(new_state(params, optim, objective), config.power_ema)

        return power_ema.keeping(step, config.power_ema), begin

    def stored(self, state: TrainState) -> TrainState:
        """What of a state the run itself holds."""
        return apart(state, self.frozen.names if self.frozen.elsewhere else ())[0]

    def untrained(self, params: Params) -> Params:
        """What optim.train_only leaves as it is of the parts that gradients alone change."""
        config, objective = self.experiment.optim, self.objective
        names = {*objective.trained} - {*objective.helpers}
        if config.train_only is None:
            return {}
        left = {
            path: x
            for path, x in flatten_dict({name: params[name] for name in names}).items()
            if not re.search(config.train_only, "/".join(path))
        }
        return unflatten_dict(left)


def without(params: Params, names: tuple[str, ...]) -> Params:
    """The parts of params that have other names."""
    return {name: part for name, part in params.items() if name not in names}
