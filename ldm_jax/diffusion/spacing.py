"""Timestep spacings: which times a sampler visits, from noise to data.

K steps have [K + 1] decreasing float32 times of a process: step k goes from times[k] to times[k +
1]. Time 0 is data. Times are whole numbers, except in the spacings that are even in the noise
level.
"""

import math
from collections.abc import Sequence

import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.types import Process

# GLIDE's "fast27" of a process of 1000 steps, for upsamplers: more steps near the data and the
# noise (openai/glide-text2im, respace.py)
FAST27 = (
    *(998, 801, 800, 601, 600, 501, 401, 400, 378, 356, 334, 312, 289, 267, 245, 223, 201),
    *(200, 178, 156, 134, 112, 89, 67, 45, 23, 1),
)


def uniform(process: Process, K: int) -> np.ndarray:
    """DDIM's original spacing: a uniform stride plus one, ending at time 1 rather than at 0.

    The original counts from 0, visits {1, 1 + c, 1 + 2c, ...} with c = T // K and takes alpha_bar
    of its step 0 as the last one's destination. Where K does not divide T it visits all the
    ceil(T / c) > K times that fit; here the K lowest of them are kept, so K steps are K steps.
    """
    if K == process.T:  # the stride plus one would step over the end
        return np.arange(process.T, -1, -1)
    c = process.T // K
    return np.append(np.arange(0, c * K, c)[::-1] + 2, 1)


def leading(process: Process, K: int) -> np.ndarray:
    """Times 1, 1 + c, 1 + 2c, ... with c = T // K, then data (Lin et al. 2024, table 2)."""
    c = process.T // K
    return np.append(np.arange(0, c * K, c)[::-1] + 1, 0)


def trailing(process: Process, K: int) -> np.ndarray:
    """Times T, T - T/K, ... , then data: starts at pure noise (Lin et al. 2024, table 2)."""
    return np.append(np.round(np.arange(process.T, 0, -process.T / K))[:K], 0)


def linspace(process: Process, K: int) -> np.ndarray:
    """K times from T to 1, both of them, then data (Lin et al. 2024, table 2)."""
    return np.append(np.round(np.linspace(0, process.T - 1, K))[::-1] + 1, 0)


def karras(process: Process, K: int, exponent: float = 7.0) -> np.ndarray:
    """Even in rho^(1 / 7), rho = sigma / alpha, then data (Karras et al. 2022, eq. 5)."""
    power = 1 / exponent
    return _by_level(process, np.linspace(*(rho**power for rho in _levels(process)), K) ** exponent)


def exponential(process: Process, K: int) -> np.ndarray:
    """Even in log rho, and so in lambda, then data (as Lu et al. 2022a recommend)."""
    return _by_level(process, np.geomspace(*_levels(process), K))


def _levels(process: Process) -> tuple[float, float]:
    """rho at the two ends of the times 1 ... T; at T - 1 in place of a T of pure noise."""
    alpha, sigma = (
        np.asarray(x, np.float64) for x in process.alpha_sigma(np.arange(process.T + 1.0))
    )
    noisiest = process.T if alpha[process.T] > 0 else process.T - 1
    return sigma[noisiest] / alpha[noisiest], sigma[1] / alpha[1]


def _by_level(process: Process, rho: np.ndarray) -> np.ndarray:
    """The times of decreasing levels rho, then data."""
    return np.append(process.time_at(-2 * np.log(rho).astype(np.float32)), 0)


SPACINGS = {
    "uniform": uniform,
    "leading": leading,
    "trailing": trailing,
    "linspace": linspace,
    "karras": karras,
    "exponential": exponential,
}


def times(name: str, process: Process, K: int) -> np.ndarray:
    """The times of the spacing called `name` with K steps, [K + 1] float32.

    Raises:
        InputError: no such spacing, or K outside 1 ... T.
    """
    if name not in SPACINGS:
        raise InputError(f"spacing '{name}' is unknown: choose one of {', '.join(SPACINGS)}")
    if not 1 <= K <= process.T:
        raise InputError(f"{K} sampling steps: expected 1 to {process.T}, the steps of the process")
    return SPACINGS[name](process, K).astype(np.float32)


def by_hand(times: Sequence[float], T: int) -> np.ndarray:
    """Times listed by the caller, ended by 0 (data) if it is not among them, [K + 1] float32.

    For example the ten of Sabour et al. 2024 (Align Your Steps) for Stable Diffusion, counted from
    1: 1000, 851, 737, 646, 546, 456, 344, 234, 125, 25.

    Raises:
        InputError: times that do not decrease, or beyond the process; more than T of them.
    """
    found = np.asarray(times, np.float32)
    if len(found) and found[-1] == 0:
        found = found[:-1]
    if not 1 <= len(found) <= T:
        raise InputError(f"{len(found)} sampling times: expected 1 to {T}, the process's steps")
    inside = (found > 0) & (found <= T)
    if not inside.all():
        raise InputError(
            f"time {found[~inside][0]:g} is out of range: expected above 0 (data), to {T} (noise)"
        )
    rising = np.flatnonzero(np.diff(found) >= 0)
    if len(rising):
        k = rising[0]
        raise InputError(
            f"time {found[k + 1]:g} follows {found[k]:g}: expected times that decrease, from noise "
            "to data"
        )
    return np.append(found, np.float32(0))


def pad(times: np.ndarray, length: int) -> np.ndarray:
    """Repeats the last time up to [length + 1]; a sampler skips steps between equal times.

    All spacings then have one shape, and one compiled sampler serves any number of steps.
    """
    return np.pad(times, (0, length + 1 - len(times)), mode="edge")


def later(times: np.ndarray, strength: float) -> np.ndarray:
    """The last int(strength K) of K steps, for data that are noised in part.

    As in the original's image-to-image; strength 1 keeps all steps.
    """
    kept = int(strength * (len(times) - 1))
    return times[len(times) - 1 - kept :]


def least_strength(K: int) -> float:
    """A strength with which `later` keeps one of K steps or two, of three digits."""
    return math.ceil(1000 / K) / 1000
