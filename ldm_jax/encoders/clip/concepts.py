"""Whether an image is near concepts that are not wanted, as CLIP sees it.

The safety checker that Stable Diffusion was published with: the cosine of an image with each of
its concepts, compared with a threshold of each (Rando et al. 2022 describe it).
"""

from typing import NamedTuple

import numpy as np

DIGITS = 3  # to which what is above a threshold is rounded
STRICTER = 0.01  # how much lower thresholds are once a concept of special care was seen


class Concepts(NamedTuple):
    """Vectors in CLIP's space, and how near to each an image may be.

    special, special_limits: [m, dim] and [m], of concepts that make the others' limits stricter
    vectors, limits:         [n, dim] and [n], of those that are not wanted
    """

    special: np.ndarray
    special_limits: np.ndarray
    vectors: np.ndarray
    limits: np.ndarray


def scores(concepts: Concepts, embeddings: np.ndarray) -> np.ndarray:
    """How far above its limit each concept is, [B, n], for embeddings [B, dim] of images."""
    special = _cosines(embeddings, concepts.special)
    above = _cosines(embeddings, concepts.vectors) - concepts.limits
    for row, cosines in enumerate(special):
        stricter = np.float32(0.0)
        for cosine, limit in zip(cosines, concepts.special_limits, strict=True):
            if np.round(cosine - limit + stricter, DIGITS) > 0:
                stricter = np.float32(STRICTER)
        above[row] += stricter
    return np.round(above, DIGITS)


def unwanted(concepts: Concepts, embeddings: np.ndarray) -> np.ndarray:
    """Whether any concept is above its limit, bool [B]."""
    return np.any(scores(concepts, embeddings) > 0, axis=1)


def _cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[B, dim], [n, dim] -> [B, n]."""
    x, y = (np.float32(a / np.linalg.norm(a, axis=1, keepdims=True)) for a in (x, y))
    return x @ y.T
