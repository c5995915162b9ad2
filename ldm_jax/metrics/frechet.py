"""The Frechet distance between two sets of features (Heusel et al. 2017, eq. 6)."""

from typing import NamedTuple

import numpy as np

from ldm_jax.errors import InputError


class Moments(NamedTuple):
    """Mean [d] and covariance [d, d] of features, in float64."""

    mean: np.ndarray
    covariance: np.ndarray


def moments(features: np.ndarray) -> Moments:
    """Of features [N, d]; the covariance is the unbiased one.

    Raises:
        InputError: fewer than two examples, which have no covariance.
    """
    x = np.asarray(features, np.float64)
    if len(x) < 2:
        raise InputError(f"{len(x)} examples of features: expected at least 2 for a covariance")
    return Moments(x.mean(axis=0), np.cov(x, rowvar=False).reshape(x.shape[1], x.shape[1]))


def frechet_distance(a: Moments, b: Moments) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), of Gaussians with these moments.

    The trace of the root is the sum of the singular values of C_a^(1/2) C_b^(1/2): singular
    covariances need no care.
    """
    cross = np.linalg.svd(_root(a.covariance) @ _root(b.covariance), compute_uv=False)
    apart = np.sum((a.mean - b.mean) ** 2)
    return float(apart + np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.sum(cross))


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
