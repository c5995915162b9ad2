"""Improved precision and recall (Kynkaanniemi et al. 2019): fidelity and diversity, separately."""

from typing import NamedTuple

import numpy as np

from ldm_jax.metrics.neighbours import radii, squared_distances


class PrecisionRecall(NamedTuple):
    """Shares between 0 and 1.

    precision: of samples that lie among the real examples
    recall:    of real examples that lie among the samples
    """

    precision: float
    recall: float


def precision_recall(samples: np.ndarray, real: np.ndarray, k: int = 3) -> PrecisionRecall:
    """Of features [N, d] and [M, d]; k = 3 of the paper's section 2, as in ADM's evaluator.

    A set's manifold is the union of balls around its examples that reach to their k-th neighbours
    (eq. 1), border included. Depends on both N and M: compare only for equal sizes.

    Raises:
        InputError: not more than k examples, or features of different length.
    """
    return PrecisionRecall(_share_inside(samples, real, k), _share_inside(real, samples, k))


def _share_inside(points: np.ndarray, balls: np.ndarray, k: int) -> float:
    """The share of points that lie in a ball around any of the others."""
    reach = radii(balls, k)
    inside = 0
    for _, squares in squared_distances(points, balls):
        inside += (squares <= reach).any(axis=1).sum()
    return float(inside / len(points))
