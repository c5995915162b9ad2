"""Mean and covariance of features, batch by batch, in float64.

The count N, the sum s = sum_i x_i and the sum of outer products S = sum_i x_i x_i^T are kept. They
add: statistics of batches, devices or shards are merged into those of the whole without any loss
but the rounding of a float64 sum.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ldm_jax.errors import InputError

TOLERANCE = 1e-5  # of a covariance, relative to its largest values: more than float32 rounds off
LARGEST = float(np.finfo(np.float32).max) ** 2  # of a moment of features in float32


class Moments(NamedTuple):
    """Mean [d] and covariance [d, d] of features, in float64."""

    mean: np.ndarray
    covariance: np.ndarray


class Sums(NamedTuple):
    """The sums over features: N, the sum [d] and the sum of outer products [d, d]."""

    count: int
    total: np.ndarray
    outer: np.ndarray


def check_moments(found: Moments, mean: str, covariance: str) -> None:
    """Raises InputError, with these names, unless they are finite, and of a distribution."""
    for x, name in zip(found, (mean, covariance), strict=True):
        if count := np.sum(~(np.abs(x) <= LARGEST)):
            raise InputError(
                f"{name} has {count} of {x.size} values that are not finite, or beyond the squares "
                "of float32: compute it again"
            )
    C, largest = found.covariance, np.max(np.abs(np.diag(found.covariance)), initial=0.0)
    asymmetry = np.max(np.abs(C - C.T), initial=0.0)
    try:
        np.linalg.cholesky((C + C.T) / 2 + (TOLERANCE * largest + 1e-30) * np.eye(len(C)))
        why = "" if asymmetry <= TOLERANCE * largest else "it is not symmetric"
    except np.linalg.LinAlgError:
        why = "it has eigenvalues below 0"
    if why:
        raise InputError(f"{covariance} is no covariance: {why}; compute it again")


def check_width(a: int, b: int) -> None:
    """Raises InputError for features of different length."""
    if a != b:
        raise InputError(
            f"sets of {a} and of {b} features: expected both from the same layer of the same "
            "extractor"
        )


def sums(features: np.ndarray) -> Sums:
    """Of features [N, d]; a product of two float32 values is exact in float64."""
    x = np.asarray(features, np.float64)
    if x.ndim != 2:
        raise InputError(f"features of shape {x.shape}: expected [N, d]")
    if not np.isfinite(x).all():
        bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
        raise InputError(
            f"features of {len(bad)} of {len(x)} examples are not finite, the first is number "
            f"{bad[0]}: expected finite values; the extractor's weights or the images are damaged"
        )
    return Sums(len(x), x.sum(axis=0), x.T @ x)


def merge(parts: Iterable[Sums]) -> Sums:
    """The sums of several sets as one, independent of their order.

    Raises:
        InputError: there are none, or of features of different length.
    """
    parts = list(parts)
    if not parts:
        raise InputError("there are no features: expected those of at least one example")
    for part in parts:
        check_width(len(parts[0].total), len(part.total))
    return Sums(*map(sum, zip(*parts, strict=True)))


class Running:
    """Sums of features that are added batch by batch. A few thousand rows are collected and added
    at once, because the sum of outer products is large."""

    def __init__(self, rows: int = 2048):
        self._rows = rows
        self._held: list[np.ndarray] = []
        self._sums: list[Sums] = []

    def add(self, features: np.ndarray) -> None:
        """Adds [n, d]."""
        self._held.append(features)
        if sum(map(len, self._held)) >= self._rows:
            self._sums, self._held = [self.result()], []

    def result(self) -> Sums:
        """Of all that was added.

        Raises:
            InputError: nothing was added.
        """
        held = [sums(np.concatenate(self._held))] if self._held else []
        return merge(self._sums + held)


def moments(features: np.ndarray | Sums) -> Moments:
    """Mean and unbiased covariance, (S - s s^T / N) / (N - 1), of features [N, d] or of their sums.

    Raises:
        InputError: fewer than two examples, which have no covariance.
    """
    count, total, outer = features if isinstance(features, Sums) else sums(features)
    if count < 2:
        raise InputError(f"{count} examples of features: expected at least 2 for a covariance")
    mean = total / count
    return Moments(mean, (outer - count * np.outer(mean, mean)) / (count - 1))
