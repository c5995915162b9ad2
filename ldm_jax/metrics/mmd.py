"""Maximum mean discrepancy between two sets of features (Gretton et al. 2012).

The unbiased estimate with a cubic kernel is KID, the biased one with a Gaussian kernel over CLIP's
image embeddings CMMD.
"""

from typing import NamedTuple

import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.metrics.statistics import check_width
from ldm_jax.settings import check_within

BLOCK = 4096  # rows of a kernel matrix in memory at once


class Estimate(NamedTuple):
    """A mean over draws of subsets, and the standard deviation among them."""

    mean: float
    std: float


def kid(
    a: np.ndarray, b: np.ndarray, subsets: int = 100, subset_size: int = 1000, seed: int = 2020
) -> Estimate:
    """Kernel inception distance (Binkowski et al. 2018) of features [N, d] and [M, d].

    The unbiased MMD^2 with k(x, y) = (x.y / d + 1)^3 of pairs of random subsets. It is unbiased for
    any N, may be slightly negative, and equals torch-fidelity's for the same seed.

    Raises:
        InputError: sets smaller than a subset, or features of different length.
    """
    check_width(a.shape[1], b.shape[1])
    least = min(len(a), len(b))
    check_within(subset_size, "subset_size", 2, least, "the examples in the smaller set")
    if subsets < 1:
        raise InputError(f"subsets is {subsets}: expected at least 1")
    rng = np.random.RandomState(seed)  # as torch-fidelity
    found = []
    for _ in range(subsets):
        x, y = (
            np.asarray(z[rng.choice(len(z), subset_size, replace=False)], np.float64)
            for z in (a, b)
        )
        found.append(mmd2_unbiased(*(_cubic(*pair) for pair in ((x, x), (x, y), (y, y)))))
    return Estimate(float(np.mean(found)), float(np.std(found)))


def mmd2_unbiased(xx: np.ndarray, xy: np.ndarray, yy: np.ndarray) -> float:
    """MMD^2 of m examples each from kernel matrices [m, m]: means without the diagonals of xx, yy.

    Gretton et al. 2012, eq. 3.
    """
    m = len(xx)
    within = xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)
    return float(within / (m * (m - 1)) - 2.0 * xy.sum() / m**2)


def _cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def cmmd(a: np.ndarray, b: np.ndarray, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """CMMD (Jayasumana et al. 2024) of CLIP's image embeddings [N, d] and [M, d].

    scale times the biased MMD^2 with k(x, y) = exp(-|x - y|^2 / (2 sigma^2)) of embeddings at unit
    length; zero for equal sets.

    Raises:
        InputError: features of different length, or of length zero.
    """
    check_width(a.shape[1], b.shape[1])
    x, y = (_unit(z) for z in (a, b))
    within = _mean_gaussian(x, x, sigma) + _mean_gaussian(y, y, sigma)
    return float(scale * (within - 2.0 * _mean_gaussian(x, y, sigma)))


def _mean_gaussian(x: np.ndarray, y: np.ndarray, sigma: float) -> float:
    """The mean of the kernel over all pairs, of rows of unit length: |x - y|^2 = 2 - 2 x.y."""
    total = 0.0
    for start in range(0, len(x), BLOCK):
        squares = 2.0 - 2.0 * (x[start : start + BLOCK] @ y.T)
        total += np.exp(-np.maximum(squares, 0.0) / (2.0 * sigma**2)).sum()
    return total / (len(x) * len(y))


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    if not (length > 0).all():
        raise InputError("an embedding has length zero: expected those of an image")
    return x / length
