"""What an experiment describes, trained in a folder, in the one order of every training:
check, match, probe, plan, write, make, fill, fit.

Whoever makes the task has checked its experiment and opened its data. Here nothing is written, and
no device is used, before all of it, and of what must be trained before, is known to fit.
"""

import contextlib
from pathlib import Path

import jax

from ldm_jax import checkpoint, runs
from ldm_jax.data import latents, pipeline, readable
from ldm_jax.runs import init_from as starting
from ldm_jax.runs.record import settings_of
from ldm_jax.runtime import hosts, lock
from ldm_jax.runtime.sharding import Devices, devices
from ldm_jax.settings import check_folder, check_ranges
from ldm_jax.training.adapter import adapter_task
from ldm_jax.training.checked import check_best_is_written, check_goes_on, check_train_only
from ldm_jax.training.classifier import classifier_task
from ldm_jax.training.clip import clip_task
from ldm_jax.training.diffusion import diffusion_task
from ldm_jax.training.first_stage import first_stage_task
from ldm_jax.training.loop import fit
from ldm_jax.training.plan import print_plan
from ldm_jax.training.source import batches_of
from ldm_jax.training.task import Task, without
from ldm_jax.types import Array, Batch, Params

TASKS = {  # kind of an experiment -> its task
    "a diffusion model": diffusion_task,
    "a first stage": first_stage_task,
    "a classifier": classifier_task,
    "a CLIP": clip_task,
    "an adapter": adapter_task,
}


def train(
    experiment: runs.AnyExperiment,
    folder: Path,
    dry_run: bool = False,
    init_from: Path | None = None,
    partial: bool = False,
) -> None:
    """Trains what the experiment describes in a folder, or goes on with it.

    Args:
        dry_run: print what a step costs, and write nothing.
        init_from: a run whose weights to start from; training that was begun goes on. A diffusion
            model takes its first stage and the scale of its latents along, unless first_stage.run
            names another, and its tokenizer.
        partial: take what matches.

    Raises:
        InputError: bad input, found before anything is written.
    """
    with hosts.agreement() as facts:
        facts |= {"--init-from": str(init_from), "--init-partial": partial, "--dry-run": dry_run}
        facts |= {"--workdir": str(folder.absolute()), "kind": experiment.kind}
        facts |= settings_of(experiment)
        for name in ("data.path", "first_stage.data.path"):  # may be elsewhere on each host
            facts.pop(name, None)
        check_folder(folder, "--workdir")
        check_ranges(experiment)
        if hosts.is_first() and not dry_run:
            lock.check_free(folder)
    with hosts.agreement() as facts:
        start = starting.start_from(init_from, experiment, partial) if init_from else None
        task = TASKS[experiment.kind](experiment, folder, dry_run, start)
        words = {entry: hosts.digest(x.to_str()) for entry, x in task.tokenizers.items()}
        facts |= {"vocabulary": words, "newest checkpoint": checkpoint.latest_step(folder)}
    run(task, folder, dry_run, start)


def run(
    task: Task, folder: Path, dry_run: bool = False, start: starting.Start | None = None
) -> None:
    """Does a task in a folder, or goes on with it, after those that must be done before.

    Args:
        start: weights to start from.
    """
    if start:  # what of it is not read elsewhere
        start = start._replace(shapes=without(start.shapes, task.frozen.names))
    trainings = (*((each, place, None) for each, place in task.before), (task, folder, start))
    begun = checkpoint.latest_step(folder) is not None  # on what was trained before
    with hosts.agreement():
        batches = [probe(*each, batch=dry_run) for each in trainings]
    if dry_run:
        for (each, *_), batch in zip(trainings, batches, strict=True):
            print_plan(each, batch)
        return
    left = []
    for each, place, from_there in trainings:
        made = checkpoint.latest_step(place) or 0
        if made < each.experiment.train.steps and (place == folder or not begun):
            left.append((each, place, from_there))
        elif made:
            print(f"{each.name}: trained already ({made} steps)")
    with contextlib.ExitStack() as locks:
        with hosts.agreement():
            for _, place, _ in left[::-1] if hosts.is_first() else ():
                locks.enter_context(lock.holding(place))
        for each, place, from_there in left:
            _train(each, place, from_there)


def probe(
    task: Task, folder: Path, start: starting.Start | None, batch: bool = False
) -> Batch | None:
    """Refuses whatever does not fit, of weights, checkpoints and data; computes nothing.

    Args:
        batch: whether to return one; or else one is returned only where it had to be made.
    """
    experiment, data = task.experiment, task.experiment.data
    if start:
        starting.match(start, without(task.shapes, task.frozen.names))
    check_train_only(task.name, experiment, task.shapes, task.objective.trained)
    if checkpoint.latest_step(folder) is not None:
        check_goes_on(folder, task)
        if start:
            starting.check_same(folder, start)
    else:
        runs.check_new(folder)
    best = experiment.train.best is not None
    batches = batches_of(data, task.source, 0, task.keys, task.tokenizers)
    readable.check_readable(data, task.source.records)
    found = next(batches) if batch or best or task.source.derive else None
    if best:
        check_best_is_written(task, found)
    in_buckets = pipeline.in_buckets(data, task.source.records)
    if in_buckets and hosts.is_first():
        print(in_buckets.describe(), flush=True)
    return found


def _train(task: Task, folder: Path, start: starting.Start | None) -> None:
    """Writes what the run is, makes or restores its state, and trains."""
    experiment = task.experiment
    own = {} if task.frozen.elsewhere else task.tokenizers
    runs.write(folder, experiment, own, task.source.info)
    init_key, step_key, frozen_key = jax.random.split(jax.random.key(experiment.seed), 3)
    mesh = devices(experiment.train.devices, experiment.train.mesh)
    step, begin = task.make_step()
    if checkpoint.latest_step(folder) is None:
        if hosts.is_first():
            starting.note(folder, start)
        params = _make(task, mesh, init_key, frozen_key, start)
        state = mesh.make(begin, mesh.place(params))
    else:
        state = jax.eval_shape(begin, task.shapes)
        if isinstance(task.source.records, latents.Source):
            names = [name for name in ("first_stage", "conditioner") if name in task.shapes]
            task.frozen.check({x: checkpoint.read_part(folder, "params", x) for x in names})
    print(f"{task.name}: {mesh.summary(state)}")
    print(f"{task.name}: {_described(task)}", flush=True)
    data = batches_of(experiment.data, task.source, experiment.seed, task.keys, task.tokenizers)
    fit(task, folder, mesh, step, state, data, step_key)


def _described(task: Task) -> str:
    """The batch and the learning rate of a step, in one line."""
    optim, train = task.experiment.optim, task.experiment.train
    size = task.experiment.data.batch_size
    parts = f", in {train.accumulate} parts" if train.accumulate > 1 else ""
    processes = f" from {jax.process_count()} hosts" if jax.process_count() > 1 else ""
    tokens = f" and {size * task.tokens} tokens" if task.tokens else ""
    warmup = f" after {optim.warmup} steps of warm-up" if optim.warmup else ""
    return (
        f"a step sees {size} images{tokens}{processes}{parts}; "
        f"{optim.kind}, learning rate {optim.lr:g}, {optim.schedule}{warmup}"
    )


def _make(
    task: Task, mesh: Devices, key: Array, frozen_key: Array, start: starting.Start | None
) -> Params:
    """All parts of params before the first step."""
    params = mesh.make(task.init, key)
    if start:
        params |= starting.fill(start, without(params, task.frozen.names))
    return params | task.frozen.read(params, frozen_key)
