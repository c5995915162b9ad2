"""Formulas of one layer in turns, in one process; of benchmarks/attention.py and convolution.py."""

import statistics
import time
from collections.abc import Callable

import jax


def medians(functions: dict[str, Callable], rounds: int, *given) -> dict[str, float]:
    """Milliseconds that each takes; they are compiled in a round before."""
    compiled = {of: jax.jit(function) for of, function in functions.items()}
    taken = {of: [] for of in functions}
    for turn in range(rounds + 1):
        for of, function in compiled.items():
            start = time.perf_counter()
            jax.block_until_ready(function(*given))
            if turn:
                taken[of].append(1e3 * (time.perf_counter() - start))
    return {of: statistics.median(times) for of, times in taken.items()}
