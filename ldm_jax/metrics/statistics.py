"""Mean and covariance of features, batch by batch, in float64.

The count N, the sum s = sum_i x_i and the sum of outer products S = sum_i x_i x_i^T are kept. They
add: statistics of batches, devices or shards are merged into those of the whole without any loss
but the rounding of a float64 sum.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ldm_jax.errors import InputError


class Moments(NamedTuple):
    """Mean [d] and covariance [d, d] of features, in float64."""

    mean: np.ndarray
    covariance: np.ndarray


class Sums(NamedTuple):
    """The sums over features: N, the sum [d] and the sum of outer products [d, d]."""

    count: int
    total: np.ndarray
    outer: np.ndarray


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
        InputError: of features of different length.
    """
    parts = list(parts)
    dims = {len(part.total) for part in parts}
    if len(dims) != 1:
        raise InputError(
            f"statistics of {' and '.join(map(str, sorted(dims)))} features: expected those of one "
            "extractor"
        )
    counts, totals, outers = zip(*parts, strict=True)
    return Sums(sum(counts), sum(totals), sum(outers))


class Running:
    """Sums of features that are added batch by batch. A few thousand rows are collected and added
    at once, because the sum of outer products is large."""

    def __init__(self, rows: int = 2048):
        self._rows = rows
        self._held: list[np.ndarray] = []
        self._total: Sums | None = None

    def add(self, features: np.ndarray) -> None:
        """Adds [n, d]."""
        self._held.append(features)
        if sum(map(len, self._held)) >= self._rows:
            self._add_held()

    def _add_held(self) -> None:
        if not self._held:
            return
        here = sums(np.concatenate(self._held))
        self._held = []
        if self._total is None:
            self._total = here
        else:
            self._total.total[...] += here.total
            self._total.outer[...] += here.outer
            self._total = self._total._replace(count=self._total.count + here.count)

    def result(self) -> Sums:
        """Of all that was added.

        Raises:
            InputError: nothing was added.
        """
        self._add_held()
        if self._total is None:
            raise InputError("there are no features: expected those of at least one example")
        return self._total


def moments(features: np.ndarray | Sums) -> Moments:
    """Mean and unbiased covariance, (S - s s^T / N) / (N - 1), of features [N, d] or of their sums.

    Raises:
        InputError: fewer than two examples, which have no covariance.
    """
    found = features if isinstance(features, Sums) else None
    count = found.count if found else len(features)
    if count < 2:
        raise InputError(f"{count} examples of features: expected at least 2 for a covariance")
    if found:
        mean = found.total / count
        return Moments(mean, (found.outer - count * np.outer(mean, mean)) / (count - 1))
    x = np.asarray(features, np.float64)
    return Moments(x.mean(axis=0), np.cov(x, rowvar=False).reshape(x.shape[1], x.shape[1]))
