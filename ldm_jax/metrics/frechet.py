"""The Frechet distance between two sets of features (Heusel et al. 2017, eq. 6).

With the pool of InceptionV3 it is FID; with the first seven channels of its `Mixed_6d.branch1x1`
at 17 x 17 positions sFID (Nash et al. 2021); with DINOv2's class token FD-DINOv2 (Stein et al.
2023). With other features it is a Frechet distance of those, comparable to none of these.
"""

import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.metrics.statistics import TOLERANCE, Moments, check_width


def frechet_distance(a: Moments, b: Moments) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), of Gaussians with these moments.

    The trace of the root is the sum of the singular values of C_a^(1/2) C_b^(1/2), which is stable
    for singular covariances, such as those of fewer examples than dimensions.

    Raises:
        InputError: moments of features of different length, or what is no covariance.
    """
    check_width(len(a.mean), len(b.mean))
    if np.array_equal(a.mean, b.mean) and np.array_equal(a.covariance, b.covariance):
        return 0.0  # of equal sets: the terms below would leave a rounding error
    cross = np.linalg.svd(_root(a.covariance) @ _root(b.covariance), compute_uv=False)
    apart = np.sum((a.mean - b.mean) ** 2)
    found = apart + np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.sum(cross)
    return max(float(found), 0.0)  # of nearly equal sets it is a rounding error


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    if values[0] < -TOLERANCE * max(values[-1], 0.0):
        raise InputError(
            f"a covariance has the eigenvalue {values[0]:.3g}: expected none below 0; compute the "
            "statistics again"
        )
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
