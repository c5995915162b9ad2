"""The guidance scale over time: functions of t [B] -> scale [B]; 1 is no guidance.

`SCHEDULES` take the mean of the scale over all times, and have the names of Wang et al. 2024
(Analysis of classifier-free guidance weight schedulers, table 1).
"""

from collections.abc import Callable

import jax.numpy as jnp

from ldm_jax.diffusion.process import log_snr
from ldm_jax.types import Array, Process

Scale = Callable[[Array], Array]


def constant(scale: Array | float) -> Scale:
    """The same at all times."""
    return lambda t: jnp.broadcast_to(scale, t.shape)


def linear(start: Array | float, end: Array | float, process: Process) -> Scale:
    """From `start` in noise, at T, to `end` in data, at 0 (Wang et al. 2024, table 1)."""
    return lambda t: end + (start - end) * t / process.T


def cosine(start: Array | float, end: Array | float, process: Process) -> Scale:
    """From `start` at T to `end` at 0, slowest near both (Wang et al. 2024, table 1)."""
    return lambda t: end + (start - end) * (1.0 - jnp.cos(jnp.pi * t / process.T)) / 2.0


SCHEDULES = {  # name -> (mean scale, process) -> Scale
    "constant": lambda mean, process: constant(mean),
    "linear": lambda mean, process: linear(1.0, 2.0 * mean - 1.0, process),
    "cosine": lambda mean, process: cosine(1.0, 2.0 * mean - 1.0, process),
}


def interval(scale: Scale, process: Process, low: Array | float, high: Array | float) -> Scale:
    """Guidance only at noise levels sigma / alpha in (low, high] (Kynkaanniemi et al. 2024)."""

    def limited(t):
        level = jnp.exp(-log_snr(process, t) / 2.0)
        return jnp.where((low < level) & (level <= high), scale(t), 1.0)

    return limited
