"""Nearest neighbours in a feature space, exact, by blocks of rows."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.metrics.statistics import check_width
from ldm_jax.settings import check_within

BLOCK = 2048  # rows whose distances are in memory at once
ROUNDING = 1e-14  # of float32 features, relative to their squares: a smaller distance is 0


class Neighbours(NamedTuple):
    """The nearest of a set: their indices, int [N, k], and distances, [N, k], nearest first."""

    index: np.ndarray
    distance: np.ndarray


def squared_distances(
    x: np.ndarray, y: np.ndarray, block: int = BLOCK
) -> Iterator[tuple[slice, np.ndarray]]:
    """|x_i - y_j|^2 of features [N, d] and [M, d] in float64, some rows i at a time, [n, M].

    Raises:
        InputError: features of different length.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    check_width(x.shape[1], y.shape[1])
    center = y.mean(axis=0)  # near which squares lose the fewest digits
    x, y = x - center, y - center
    of_y = np.square(y).sum(axis=1)
    for start in range(0, len(x), block):
        rows = slice(start, min(start + block, len(x)))
        lengths = np.square(x[rows]).sum(axis=1)[:, None] + of_y
        squares = lengths - 2.0 * (x[rows] @ y.T)
        yield rows, np.where(squares < ROUNDING * lengths, 0.0, squares)


def radii(x: np.ndarray, k: int) -> np.ndarray:
    """The squared distance of each example of x [N, d] to its k-th nearest other one, [N].

    Raises:
        InputError: not more than k examples.
    """
    if not 1 <= k < len(x):
        raise InputError(f"{len(x)} examples have no {k}-th neighbour: expected at least {k + 1}")
    found = np.empty(len(x))
    for rows, squares in squared_distances(x, x):
        found[rows] = np.partition(squares, k, axis=1)[:, k]  # the smallest is the example itself
    return found


def nearest(x: np.ndarray, y: np.ndarray, k: int = 1, other: bool = False) -> Neighbours:
    """The k nearest of y [M, d] for each of x [N, d].

    Args:
        other: x is y, and no example is its own neighbour.

    Raises:
        InputError: fewer than k others.
    """
    check_within(k, "k", 1, len(y) - other, "the other examples")
    index = np.empty((len(x), k), np.int64)
    distance = np.empty((len(x), k))
    for rows, squares in squared_distances(x, y):
        if other:
            squares[np.arange(len(squares)), np.arange(rows.start, rows.stop)] = np.inf
        part = np.argpartition(squares, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(squares, part, axis=1), axis=1, kind="stable")
        index[rows] = np.take_along_axis(part, order, axis=1)
        distance[rows] = np.sqrt(np.take_along_axis(squares, index[rows], axis=1))
    return Neighbours(index, distance)
