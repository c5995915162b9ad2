"""Sampling grids: which times a sampler visits, from noise to data.

A grid of K steps is [K + 1] decreasing integers: step k goes from grid[k] to grid[k + 1].
Time 0 is data.
"""

import numpy as np

from ldm_jax.errors import InputError


def uniform(T: int, K: int) -> np.ndarray:
    """The original DDIM grid: a uniform stride plus one, ending at time 1 rather than at 0.

    The original counts from 0, visits {1, 1 + c, 1 + 2c, ...} with c = T // K and takes alpha_bar
    of its step 0 as the last one's destination. Where K does not divide T it visits all the
    ceil(T / c) > K times that fit; here the K lowest of them are kept, so K steps are K steps.
    """
    if K == T:  # the stride plus one would step over the end
        return np.arange(T, -1, -1)
    c = T // K
    return np.append(np.arange(0, c * K, c)[::-1] + 2, 1)


def leading(T: int, K: int) -> np.ndarray:
    """Times 1, 1 + c, 1 + 2c, ... with c = T // K, then data (Lin et al. 2024, table 2)."""
    return np.append(np.arange(0, (T // K) * K, T // K)[::-1] + 1, 0)


def trailing(T: int, K: int) -> np.ndarray:
    """Times T, T - T/K, ... , then data: starts at pure noise (Lin et al. 2024, table 2)."""
    return np.append(np.round(np.arange(T, 0, -T / K)).astype(int)[:K], 0)


GRIDS = {"uniform": uniform, "leading": leading, "trailing": trailing}


def grid(name: str, T: int, K: int) -> np.ndarray:
    """The grid called `name` with K steps, [K + 1] int32.

    Raises:
        InputError: no such grid, or K outside 1 ... T.
    """
    if name not in GRIDS:
        raise InputError(f"grid '{name}' is unknown: choose one of {', '.join(GRIDS)}")
    if not 1 <= K <= T:
        raise InputError(f"{K} sampling steps: expected 1 to {T}, the steps of the process")
    return GRIDS[name](T, K).astype(np.int32)


def pad(times: np.ndarray, length: int) -> np.ndarray:
    """Repeats the last time up to [length + 1]; a sampler skips a step that goes nowhere.

    Every grid then has one shape, and one compiled sampler serves any number of steps.
    """
    return np.pad(times, (0, length + 1 - len(times)), mode="edge")
