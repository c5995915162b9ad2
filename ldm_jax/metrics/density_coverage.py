"""Density and coverage (Naeem et al. 2020): precision and recall that outliers do not inflate."""

from typing import NamedTuple

import numpy as np

from ldm_jax.metrics.neighbours import radii, squared_distances


class DensityCoverage(NamedTuple):
    """Both are 1 for equal sets.

    density:  the number of real balls a sample lies in, divided by k; may exceed 1
    coverage: the share of real examples whose ball contains a sample
    """

    density: float
    coverage: float


def density_coverage(samples: np.ndarray, real: np.ndarray, k: int = 5) -> DensityCoverage:
    """Of features [N, d] and [M, d]; k = 5 of the paper's section 4.

    Balls are around real examples only, to their k-th neighbours, without the border (eq. 4 and
    5), so that an outlier among the samples does not count.

    Raises:
        InputError: not more than k examples, or features of different length.
    """
    reach = radii(real, k)
    inside, covered = 0, np.zeros(len(real), bool)
    for _, squares in squared_distances(samples, real):
        within = squares < reach
        inside += within.sum()
        covered |= within.any(axis=0)
    return DensityCoverage(float(inside / (k * len(samples))), float(covered.mean()))
