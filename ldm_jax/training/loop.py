"""The loop that every kind of training shares."""

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from ldm_jax import checkpoint
from ldm_jax.errors import StoppedError
from ldm_jax.runtime import hosts
from ldm_jax.runtime.compilation import Compiled, compile_ahead
from ldm_jax.runtime.sharding import Devices
from ldm_jax.train_step.state import apart, joined
from ldm_jax.training import cost
from ldm_jax.training.preemption import Preemption
from ldm_jax.training.record import Record
from ldm_jax.training.task import Task
from ldm_jax.types import Array, Params, TrainState


def fit(
    task: Task, run: Path, devices: Devices, step: Callable, state: TrainState, data, key: Array
) -> TrainState:
    """Trains until `train.steps` of a task, from the newest checkpoint of `run` if there is one.

    Checkpoints are written while training goes on. On SIGTERM the step is finished and saved; until
    the first step is made there is nothing to save, and SIGTERM ends the process.

    Args:
        step: the pure step (state, frozen, batch, key, average, gather) -> (state, metrics).
        state: that before the first update, frozen parts included; of a run begun, its shapes.
        data: iterator over dicts of numpy arrays [b, ...], with a state that Grain can save.
        key: the root of all randomness of the steps.

    Raises:
        FloatingPointError: a term of the loss or a weight is no longer finite.
        StoppedError: a checkpoint could not be saved; or SIGTERM came, and the state is saved.
    """
    began, steps = time.monotonic(), task.experiment.train.steps
    new = checkpoint.latest_step(run) is None
    state = devices.place(state) if new else _restored(task, run, devices, state, data)
    start = int(state.step)
    if start >= steps:
        print(f"{task.name}: trained already ({start} steps)")
        return state
    if start:
        print(f"{task.name}: resuming from step {start}", flush=True)
    state, frozen = apart(state, task.objective.frozen(state.params))
    _save_frozen(task, run, state, frozen, new)
    with contextlib.ExitStack() as stack:
        record = Record(task, run, start, frozen, stack)
        trace = stack.enter_context(contextlib.ExitStack())
        profiled = task.experiment.train.profile_steps
        program = _programs(devices.parallelize(step, state), record)
        record.show_missing(state, start)
        for n in range(start + 1, steps + 1):
            batch = with_positions(record.meter.next(data))
            arguments = state, frozen, devices.split(batch), key
            call = program(batch["image"].shape, arguments)
            if n in profiled[:1]:
                trace.enter_context(jax.profiler.trace(str(run / "profile")))
            state, metrics = call(*arguments)
            record.meter.step(metrics, len(batch["image"]) * jax.process_count())
            if n in (*profiled[1:], start + 1):
                jax.block_until_ready(metrics)
            if n in profiled[1:]:
                trace.close()
            if n == start + 1:
                record.log.say(f"first step after {time.monotonic() - began:.1f} s")
                preemption = stack.enter_context(Preemption())  # now there is something to save
            stop = preemption.reached(n) and n < steps
            record.after(n, state, metrics, data, stop)
            if stop:
                checkpoint.check_saved(record.saves, wait=True)
                raise _stopped(task, preemption, n)
    return joined(state, frozen)


def _stopped(task: Task, preemption: Preemption, n: int) -> StoppedError:
    by = signal.Signals(preemption.number or signal.SIGTERM)  # which others received
    text = f"stopped by {by.name}: step {n} is saved, and the same command goes on from it"
    return StoppedError(f"{task.name}: {text}", 128 + by)


def _save_frozen(task: Task, run: Path, state: TrainState, frozen: Params, new: bool) -> None:
    if task.frozen.elsewhere:
        frozen = {}
    if new:
        checkpoint.save_frozen(run, {**frozen, **task.untrained(state.params)})
    else:
        checkpoint.keep_frozen(run, frozen)


def _restored(task: Task, run: Path, devices: Devices, shapes: TrainState, data) -> TrainState:
    """The newest state that can be read; later ones are moved to RUN/damaged."""
    state = checkpoint.restore(run, task.stored(devices.target(shapes)), data)
    if hosts.is_first():
        checkpoint.set_aside(run, after=int(state.step))
    if not task.frozen.elsewhere:
        return state
    return joined(state, devices.place(task.frozen.read(state.params, jax.random.key(0))))


def _programs(step: Callable, record: Record) -> Callable:
    """(shape of a batch's images, arguments) -> the compiled step, of which there is one a shape.

    The meter of `record` is set to its operations.
    """
    programs: dict[tuple[int, ...], tuple[Callable, float | None]] = {}

    def program(shape, arguments):
        if shape not in programs:
            compiled = compile_ahead(step, *arguments)
            flops = None if compiled.trace is None else cost.flops(compiled.trace)
            programs[shape] = compiled.call, flops
            record.log.say(_described(compiled, flops))
            record.meter.restart()
        call, record.meter.flops = programs[shape]
        return call

    return program


def _described(compiled: Compiled, flops: float | None) -> str:
    """How long compiling took, and what a step costs."""
    how = "found in the cache of compiled programs" if compiled.cached else "compiled"
    parts = [f"step {how} in {compiled.seconds:.1f} s"]
    if flops is not None:
        parts.append(f"{flops / 1e9:.4g} GFLOP")
    held = cost.bytes_a_device(compiled.call)
    if held:
        parts.append(f"{sum(held.values()) / 2**20:.4g} MiB a device")
    return ", ".join(parts)


def with_positions(batch: dict) -> dict:
    """Adds each example's position in the global batch, [b] int32, as `pipeline.batches` deals:
    to one host after the other."""
    dealt = np.arange(len(batch["image"]), dtype=np.int32) * jax.process_count()
    return {**batch, "position": dealt + np.int32(jax.process_index())}
