"""The step of an experiment: made, planned, announced."""

from collections.abc import Callable
from pathlib import Path

import jax

from ldm_jax import checkpoint, runs
from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step import power_ema
from ldm_jax.train_step.optimizer import optimizer
from ldm_jax.train_step.state import Objective, apart, make_train_step, new_state
from ldm_jax.training import plan
from ldm_jax.training.loop import with_positions
from ldm_jax.training.task import Task
from ldm_jax.types import Batch, Params, TrainState


def make_step(
    experiment: runs.AnyExperiment, objective: Objective
) -> tuple[Callable, Callable[[Params], TrainState]]:
    """The train step of an experiment, and what makes the state before the first from params."""
    config = experiment.optim
    optim = optimizer(config, experiment.train.steps, objective.trained)
    step = make_train_step(objective, optim, config.ema_decay)

    def begin(params: Params) -> TrainState:
        return power_ema.with_averages(new_state(params, optim, objective), config.power_ema)

    return power_ema.keeping(step, config.power_ema), begin


def print_plan(task: Task, batch: Batch) -> None:
    """Says what a step would cost; compiles it, and computes nothing.

    Args:
        batch: of this host.
    """
    experiment = task.experiment
    spread = devices(experiment.train.devices, experiment.train.mesh)
    step, begin = make_step(experiment, task.objective)
    state = spread.target(jax.eval_shape(begin, task.shapes))
    key = jax.eval_shape(lambda: jax.random.key(0))
    batch = spread.like(with_positions(batch))
    state, frozen = apart(state, task.objective.frozen(task.shapes))
    lifted = spread.parallelize(step, state)
    for line in plan.describe(lifted, (state, frozen, batch, key), experiment.data.batch_size):
        print(f"{task.name}: {line}")


def announce(name: str, experiment: runs.AnyExperiment, placed: str, tokens: int = 0) -> None:
    """Says what a step is and how fast it learns: nothing of it is scaled without being said.

    Args:
        placed: how the state is spread over the devices.
        tokens: of a condition, for each image.
    """
    optim, train, size = experiment.optim, experiment.train, experiment.data.batch_size
    parts = f", in {train.accumulate} parts" if train.accumulate > 1 else ""
    hosts = f" from {jax.process_count()} hosts" if jax.process_count() > 1 else ""
    tokens = f" and {size * tokens} tokens" if tokens else ""
    warmup = f" after {optim.warmup} steps of warm-up" if optim.warmup else ""
    print(f"{name}: {placed}")
    print(
        f"{name}: a step sees {size} images{tokens}{hosts}{parts}; "
        f"{optim.kind}, learning rate {optim.lr:g}, {optim.schedule}{warmup}",
        flush=True,
    )


def is_finished(name: str, run: Path, steps: int) -> bool:
    """Whether a run has made its steps, and says so."""
    made = checkpoint.latest_step(run) or 0
    if made >= steps:
        print(f"{name}: trained already ({made} steps)")
    return made >= steps
