"""The loop that every kind of training shares."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from ldm_jax import checkpoint, pictures
from ldm_jax.config import Train
from ldm_jax.sharding import Devices
from ldm_jax.train.log import Log
from ldm_jax.types import Array, TrainState


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
) -> TrainState:
    """Trains until `config.steps`, from the newest checkpoint of `run` where there is one.

    Args:
        step: the pure step (state, batch, key, average) -> (state, metrics).
        state: the state before the first update.
        data: iterator over dicts of numpy arrays [b, ...], with a state that Grain can save.
        key: the root of all randomness of the steps.
        picture: a uint8 picture [H, W, 3] that shows what has been learned.

    Raises:
        FloatingPointError: the loss is no longer finite; the last checkpoint is the one before.
    """
    state = devices.replicate(state)
    if checkpoint.latest_step(run) is not None:
        state = checkpoint.restore(run, devices.target(state), data)
    start = int(state.step)
    if start >= config.steps:
        print(f"{name}: trained already ({start} steps)")
        return state
    if start:
        print(f"{name}: resuming from step {start}", flush=True)
    compiled = devices.lift(step)
    with checkpoint.manager(run, config.keep) as saves, Log(run, name, start, config.steps) as log:
        pending, since = [], time.monotonic()
        for n in range(start + 1, config.steps + 1):
            batch = with_positions(next(data))
            state, metrics = compiled(state, devices.split(batch), key)
            pending.append(metrics)
            log.advance()
            last = n == config.steps
            saves_now = n % config.save_every == 0 or last
            if n % config.log_every == 0 or saves_now:
                values = averages(pending, n)
                elapsed, images = time.monotonic() - since, len(pending) * global_size(batch)
                log.scalars(n, {**values, "images_per_second": images / elapsed})
                pending, since = [], time.monotonic()
            if picture and config.sample_every and (last or n % config.sample_every == 0):
                shown = picture(state)
                log.picture(n, shown)
                pictures.save(run / "samples" / f"{n:08d}.png", shown)
                since = time.monotonic()
            if saves_now:
                checkpoint.save(saves, state, data)
    return state


def with_positions(batch: dict) -> dict:
    """Adds each example's position in the global batch, [b] int32."""
    size = len(batch["image"])
    return {**batch, "position": np.arange(size, dtype=np.int32) + jax.process_index() * size}


def global_size(batch: dict) -> int:
    """Examples of one step, over all hosts."""
    return len(batch["image"]) * jax.process_count()


def averages(metrics: list[dict], step: int) -> dict[str, float]:
    """Each metric averaged over the steps since the last time.

    Raises:
        FloatingPointError: some are not finite; names them, and sums of terms only if alone.
    """
    rows = jax.device_get(metrics)
    values = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    sums = ("loss", "gradient_norm")  # which say nothing of where it began
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        terms = [name for name in bad if name not in sums] or bad
        named = ", ".join(f"'{name}' is {values[name]}" for name in terms)
        raise FloatingPointError(
            f"{named} at step {step}: lower optim.lr or raise optim.warmup, "
            "and run the same command to resume from the last checkpoint"
        )
    return values
