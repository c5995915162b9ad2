"""The loop that every kind of training shares."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import checkpoint
from ldm_jax.data import image_files
from ldm_jax.errors import InputError, StoppedError
from ldm_jax.experiments.train import Train
from ldm_jax.runtime import hosts
from ldm_jax.runtime.compilation import Compiled, compile_ahead
from ldm_jax.runtime.sharding import Devices
from ldm_jax.train_step.state import Measurement, apart, joined
from ldm_jax.training import cost
from ldm_jax.training.log import Log, Silence, open_log
from ldm_jax.training.meter import Meter
from ldm_jax.training.preemption import Preemption
from ldm_jax.types import Array, TrainState

PREEMPTED = 143  # exit status of what was asked to end: 128 + SIGTERM


def fit(
    name: str,
    run: Path,
    config: Train,
    devices: Devices,
    step: Callable,
    state: TrainState,
    data,
    key: Array,
    picture: Callable[[TrainState], np.ndarray] | None = None,
    measurement: Measurement | None = None,
    frozen: Sequence[str] = (),
) -> TrainState:
    """Trains until `config.steps`, from the newest checkpoint of `run` where there is one.

    Checkpoints are written while training goes on. On SIGTERM the step is finished and saved; until
    the first step is made there is nothing to save, and it ends the process as it does any other.

    Args:
        step: the pure step (state, frozen, batch, key, average, gather) -> (state, metrics).
        state: the state before the first update; where there is a checkpoint, its shapes.
        data: iterator over dicts of numpy arrays [b, ...], with a state that Grain can save.
        key: the root of all randomness of the steps.
        image: a uint8 image [H, W, 3] that shows what has been learned.
        measurement: what is measured at its intervals and at the end, but not where SIGTERM came.
            Where `config.best` is among its names, what was measured is saved, too.
        frozen: the parts of the state's params that a step reads and does not change.

    Raises:
        FloatingPointError: a term of the loss or a weight is no longer finite; the last checkpoint
            is one of before.
        StoppedError: a checkpoint could not be saved; or SIGTERM came, and the state is saved.
    """
    began = time.monotonic()
    new = checkpoint.latest_step(run) is None
    if new:
        state = devices.place(state)
    else:
        state = checkpoint.restore(run, devices.target(state), data)
        if hosts.is_first():
            checkpoint.set_aside(run, after=int(state.step))
    start = int(state.step)
    if start >= config.steps:
        print(f"{name}: trained already ({start} steps)")
        return state
    if start:
        print(f"{name}: resuming from step {start}", flush=True)
    state, constant = apart(state, frozen)
    (checkpoint.save_frozen if new else checkpoint.keep_frozen)(run, constant)
    lifted, finite = devices.parallelize(step, state), jax.jit(_finite)
    programs: dict[tuple[int, ...], tuple[Callable, float | None]] = {}

    def shows(n: int) -> bool:
        every = config.sample_every if picture else 0
        return bool(every) and (n % every == 0 or n == config.steps)

    def measures(n: int) -> bool:
        return bool(measurement) and (n % measurement.every == 0 or n == config.steps)

    def show(state: TrainState, n: int) -> None:
        shown = picture(joined(state, constant))
        log.picture(n, shown)
        if hosts.is_first():
            image_files.save(run / "samples" / f"{n:08d}.png", shown)
        meter.restart()

    with contextlib.ExitStack() as stack:
        saves = stack.enter_context(checkpoint.manager(run, config.keep, config.best))
        log = stack.enter_context(open_log(run, name, start, config.steps))
        meter = stack.enter_context(contextlib.closing(Meter()))
        trace = stack.enter_context(_Trace(run / "profile", config.profile_steps))
        pending = []
        if start and shows(start) and not (run / "samples" / f"{start:08d}.png").exists():
            show(state, start)  # the run ended between checkpoint and image
        for n in range(start + 1, config.steps + 1):
            batch = with_positions(meter.next(data))
            placed = devices.split(batch)
            shape = batch["image"].shape  # one program for each, of which there are few
            if shape not in programs:
                compiled = compile_ahead(lifted, state, constant, placed, key)
                programs[shape] = compiled.call, _describe(log, compiled)
                meter.restart()
            call, meter.flops = programs[shape]
            trace.before(n)
            state, metrics = call(state, constant, placed, key)
            meter.step(metrics, global_size(batch))
            pending.append(metrics)
            trace.after(n, metrics)
            log.advance()
            if n == start + 1:
                jax.block_until_ready(metrics)
                log.say(f"first step after {time.monotonic() - began:.1f} s")
                preemption = stack.enter_context(Preemption())  # now there is something to save
            last, asked = n == config.steps, preemption.reached(n)
            measures_now = measures(n) and (last or not asked)
            ranked = measures_now and config.best in measurement.names
            saves_now = n % config.save_every == 0 or last or asked or ranked
            if n % config.log_every == 0 or saves_now or measures_now:
                values, speed = averages(pending, n), meter.read()
                check_best(config.best, [*values, *(measurement.names if measurement else ())])
                if measures_now:
                    check_finite(jax.device_get(finite(state)), n)
                    values |= measurement.of(joined(state, constant))
                    meter.restart()
                log.scalars(n, {**values, **speed})
                pending = []
                checkpoint.check_saved(saves)
            if last and shows(n):
                show(state, n)  # first, since a run that has its last checkpoint is done
            if saves_now:
                check_finite(jax.device_get(finite(state)), n)
                known = config.best is None or config.best in values
                checkpoint.save(saves, state, data, values if known else None)
            if config.snapshot_every and (n % config.snapshot_every == 0 or last):
                checkpoint.save_snapshot(run, state)
            if shows(n) and not last and not asked:
                show(state, n)
            if asked and not last:
                checkpoint.check_saved(saves, wait=True)
                raise StoppedError(
                    f"{name}: asked to end (SIGTERM): step {n} is saved, and the same command goes "
                    "on from it",
                    PREEMPTED,
                )
    return joined(state, constant)


def check_best(best: str | None, names: Sequence[str], prefix: str = "") -> None:
    """Raises InputError where train.best is none of the names of what is written."""
    if best and best not in names:
        raise InputError(f"{prefix}train.best is {best}: expected one of {', '.join(names)}")


def _describe(log: Log | Silence, compiled: Compiled) -> float | None:
    """Says how long compiling took, and what a step costs; its operations, where they are known."""
    how = "found in the cache of compiled programs" if compiled.cached else "compiled"
    said = [f"step {how} in {compiled.seconds:.1f} s"]
    flops = None if compiled.trace is None else cost.flops(compiled.trace)
    if flops is not None:
        said.append(f"{flops / 1e9:.4g} GFLOP")
    held = cost.bytes_a_device(compiled.call)
    if held:
        said.append(f"{sum(held.values()) / 2**20:.4g} MiB a device")
    log.say(", ".join(said))
    return flops


class _Trace:
    """A profiler's trace of the steps from first to last, in `folder`; a context manager."""

    def __init__(self, folder: Path, steps: tuple[int, ...]):
        self.folder = folder
        self.first, self.last = steps or (0, 0)
        self.running = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.running:
            jax.profiler.stop_trace()

    def before(self, step: int) -> None:
        """Begins with step `first`."""
        if step == self.first:
            jax.profiler.start_trace(str(self.folder))
            self.running = True

    def after(self, step: int, results: Any) -> None:
        """Ends with step `last`, once it has been computed."""
        if self.running and step == self.last:
            jax.block_until_ready(results)
            jax.profiler.stop_trace()
            self.running = False


def with_positions(batch: dict) -> dict:
    """Adds each example's position in the global batch, [b] int32, as `pipeline.batches` deals:
    to one host after the other."""
    dealt = np.arange(len(batch["image"]), dtype=np.int32) * jax.process_count()
    return {**batch, "position": dealt + np.int32(jax.process_index())}


def global_size(batch: dict) -> int:
    """Examples of one step, over all hosts."""
    return len(batch["image"]) * jax.process_count()


def averages(metrics: list[dict], step: int) -> dict[str, float]:
    """Each metric averaged over the steps since the last time, of which `step` is the last.

    Raises:
        FloatingPointError: some are not finite; names those of the first such step, and sums of
            terms only if alone.
    """
    rows = jax.device_get(metrics)
    sums = ("loss", "gradient_norm")  # which say nothing of where it began
    for n, row in enumerate(rows, step - len(rows) + 1):
        bad = [name for name, value in row.items() if not math.isfinite(value)]
        if bad:
            terms = [name for name in bad if name not in sums] or bad
            named = ", ".join(f"'{name}' is {float(row[name])}" for name in terms)
            raise FloatingPointError(f"{named} at step {n}: {REMEDY}")
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


REMEDY = (
    "lower optim.lr or raise optim.warmup, and run the same command to resume from the last "
    "checkpoint"
)


def _finite(state: TrainState) -> TrainState:
    """Whether all numbers of each array are finite."""
    return jax.tree.map(lambda x: jnp.all(jnp.isfinite(x)), state)


def check_finite(finite: TrainState, step: int) -> None:
    """Raises FloatingPointError for the first array of a state in which a number is not finite."""
    for part in (finite.params, finite.ema, finite.opt_state):
        for path, fine in jax.tree_util.tree_leaves_with_path(part):
            if not fine:
                name = jax.tree_util.keystr(path, simple=True, separator="/")
                raise FloatingPointError(f"'{name}' is not finite after step {step}: {REMEDY}")
