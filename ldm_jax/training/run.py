"""The one order of every training: check, match, probe, plan, write, make, fill, fit.

Whoever makes the task has checked its experiment and opened its data. Here nothing is written, and
no device is used, before all of it, and of what must be trained before, is known to fit.
"""

from pathlib import Path

import jax

from ldm_jax import checkpoint, runs
from ldm_jax.data import latents, pipeline
from ldm_jax.runs import init_from
from ldm_jax.runtime import hosts
from ldm_jax.runtime.sharding import Devices, devices
from ldm_jax.training.checked import check_architecture, check_best_is_written, check_train_only
from ldm_jax.training.loop import fit
from ldm_jax.training.source import batches_of, look
from ldm_jax.training.steps import announce, is_finished, make_step, print_plan
from ldm_jax.training.task import Task, without
from ldm_jax.types import Array, Batch, Params


def run(
    task: Task, folder: Path, dry_run: bool = False, start: init_from.Start | None = None
) -> None:
    """Does a training in a folder, or goes on with it, after what must be trained before.

    Args:
        dry_run: print what a step costs, and write nothing.
        start: weights to start from.

    Raises:
        InputError: bad input, found before anything is written.
    """
    trainings = (*((each, place, None) for each, place in task.before), (task, folder, start))
    batches = [probe(*each, batch=dry_run) for each in trainings]
    if dry_run:
        for (each, *_), batch in zip(trainings, batches, strict=True):
            print_plan(each, batch)
        return
    for each, place, from_there in trainings:
        if not is_finished(each.name, place, each.experiment.train.steps):
            _train(each, place, from_there)


def probe(
    task: Task, folder: Path, start: init_from.Start | None, batch: bool = False
) -> Batch | None:
    """Refuses whatever does not fit, of weights, checkpoints and data; computes nothing.

    Args:
        batch: whether to return one; or else one is returned only where it had to be made.
    """
    experiment, data = task.experiment, task.experiment.data
    if start:
        init_from.match(_apart(task, start), without(task.shapes, task.frozen.names))
    check_train_only(task.name, experiment, task.shapes, task.objective.trained)
    if checkpoint.latest_step(folder) is not None:
        check_architecture(folder, task)
    best = experiment.train.best is not None
    found = look(data, task.source, task.keys, task.tokenizer, batch or best)
    if best:
        check_best_is_written(task, found)
    in_buckets = pipeline.in_buckets(data, task.source.records)
    if in_buckets and hosts.is_first():
        print(in_buckets.describe(), flush=True)
    return found


def _train(task: Task, folder: Path, start: init_from.Start | None) -> None:
    """Writes what the run is, makes or restores its state, and trains."""
    experiment = task.experiment
    runs.write(folder, experiment, task.tokenizer, task.source.info)
    init_key, step_key, frozen_key = jax.random.split(jax.random.key(experiment.seed), 3)
    spread = devices(experiment.train.devices, experiment.train.mesh)
    step, begin = make_step(experiment, task.objective)
    if checkpoint.latest_step(folder) is None:
        params = _make(task, spread, init_key, frozen_key, start)
        state = spread.make(begin, spread.place(params))
    else:
        state = jax.eval_shape(begin, task.shapes)
        if isinstance(task.source.records, latents.Source):
            names = [name for name in ("first_stage", "conditioner") if name in task.shapes]
            task.frozen.check({x: checkpoint.read_part(folder, "params", x) for x in names})
    announce(task.name, experiment, spread.summary(state), task.tokens)
    fit(
        task.name,
        folder,
        experiment.train,
        spread,
        step,
        state,
        batches_of(experiment.data, task.source, experiment.seed, task.keys, task.tokenizer),
        step_key,
        picture=task.sample,
        measurement=task.measurement,
        frozen=task.objective.frozen(task.shapes),
    )


def _make(
    task: Task, spread: Devices, key: Array, frozen_key: Array, start: init_from.Start | None
) -> Params:
    """All parts of params before the first step."""
    params = spread.make(task.init, key)
    if start:
        params |= init_from.fill(_apart(task, start), without(params, task.frozen.names))
    return params | task.frozen.read(params, frozen_key)


def _apart(task: Task, start: init_from.Start) -> init_from.Start:
    """What a run to start from has of the parts that are not read elsewhere."""
    return start._replace(shapes=without(start.shapes, task.frozen.names))
