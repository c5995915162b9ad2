"""What is written of a run after its steps: rows, checkpoints and images."""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import checkpoint
from ldm_jax.data import image_files
from ldm_jax.errors import InputError
from ldm_jax.runtime import hosts
from ldm_jax.runtime.sharding import named
from ldm_jax.train_step.state import joined
from ldm_jax.training.log import open_log
from ldm_jax.training.meter import Meter
from ldm_jax.training.task import Task
from ldm_jax.types import Metrics, Params, TrainState

REMEDY = (
    "lower optim.lr or raise optim.warmup, and run the same command to resume from the last "
    "checkpoint"
)


class Record:
    """Writes what a task's run has to show for its steps.

    Args:
        start: the step from which it goes on.
        frozen: the parts of params that its states do not hold.
        stack: closes what is opened here.
    """

    def __init__(
        self, task: Task, run: Path, start: int, frozen: Params, stack: contextlib.ExitStack
    ):
        self.task, self.config, self.run, self.frozen = task, task.experiment.train, run, frozen
        names = checkpoint.frozen_names(run)
        manager = checkpoint.manager(run, self.config.keep, self.config.best, names)
        self.saves = stack.enter_context(manager)
        self.log = stack.enter_context(open_log(run, task.name, start, self.config.steps))
        self.meter = stack.enter_context(contextlib.closing(Meter()))
        self._pending: list[Metrics] = []
        self._finite = jax.jit(lambda x: jax.tree.map(lambda x: jnp.all(jnp.isfinite(x)), x))

    def after(self, n: int, state: TrainState, metrics: Metrics, data, stop: bool) -> None:
        """Writes what is due after step n.

        Args:
            data: the iterator over batches, whose place is saved.
            stop: whether the run is to end here: it saves, and neither measures nor draws.
        """
        config, measured = self.config, self.task.measurement
        self._pending.append(metrics)
        self.log.advance()
        last = n == config.steps
        measures = self._due(measured.every, n) and not stop
        saves = stop or last or n % config.save_every == 0
        saves = saves or (measures and config.best in measured.names)
        if saves or measures or n % config.log_every == 0:
            row = self._row(n, state, measures)
        if last and self._shows(n):
            self._show(state, n)  # first, since a run that has its last checkpoint is done
        if saves:
            check_finite(jax.device_get(self._finite(state)), n)
            known = config.best is None or config.best in row
            checkpoint.save(self.saves, state, data, row if known else None)
        if self._due(config.snapshot_every, n):
            checkpoint.save_snapshot(self.run, state)
        if self._shows(n) and not last and not stop:
            self._show(state, n)

    def show_missing(self, state: TrainState, n: int) -> None:
        """Draws the image of the step from which a run goes on, if it ended before that."""
        if n and self._shows(n) and not self._image(n).exists():
            self._show(state, n)

    def _due(self, every: int, n: int) -> bool:
        return bool(every) and (n % every == 0 or n == self.config.steps)

    def _shows(self, n: int) -> bool:
        return self.task.sample is not None and self._due(self.config.sample_every, n)

    def _image(self, n: int) -> Path:
        return self.run / "samples" / f"{n:08d}.png"

    def _show(self, state: TrainState, n: int) -> None:
        image = self.task.sample(joined(state, self.frozen))
        self.log.image(n, image)
        if hosts.is_first():
            image_files.save(self._image(n), image)
        self.meter.restart()

    def _row(self, n: int, state: TrainState, measures: bool) -> dict[str, float]:
        """Writes the row of step n; returns what it says but for speed."""
        row, speed = averages(self._pending, n), self.meter.read()
        check_best(self.config.best, [*row, *self.task.measurement.names])
        if measures:
            check_finite(jax.device_get(self._finite(state)), n)
            row |= self.task.measurement.of(joined(state, self.frozen))
            self.meter.restart()
        self.log.scalars(n, {**row, **speed})
        self._pending = []
        checkpoint.check_saved(self.saves)
        return row


def check_best(best: str | None, names: Sequence[str], prefix: str = "") -> None:
    """Raises InputError where train.best is none of the names of what is written."""
    if best and best not in names:
        raise InputError(f"{prefix}train.best is {best}: expected one of {', '.join(names)}")


def averages(metrics: list[Metrics], step: int) -> dict[str, float]:
    """Each metric averaged over the steps since the last time, of which `step` is the last.

    Raises:
        FloatingPointError: some are not finite; names those of the first such step, and sums of
            terms only if alone.
    """
    rows = jax.device_get(metrics)
    sums = ("loss", "gradient_norm")  # which do not say where it began
    for n, row in enumerate(rows, step - len(rows) + 1):
        bad = [name for name, value in row.items() if not math.isfinite(value)]
        if bad:
            terms = [name for name in bad if name not in sums] or bad
            named = ", ".join(f"'{name}' is {float(row[name])}" for name in terms)
            raise FloatingPointError(f"{named} at step {n}: {REMEDY}")
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def check_finite(finite: TrainState, step: int) -> None:
    """Raises FloatingPointError for the first array of a state in which a value is not finite.

    Args:
        finite: of each array, whether all of its values are.
    """
    for part in (finite.params, finite.ema, finite.opt_state):
        for name, fine in named(part).items():
            if not fine:
                raise FloatingPointError(f"'{name}' is not finite after step {step}: {REMEDY}")
