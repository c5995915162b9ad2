"""A classifier of unwanted images by concepts in CLIP's embedding space.

The safety checker that Stable Diffusion was published with: the cosine of an image's embedding with
each concept, compared with a threshold of the concept (Rando et al. 2022 describe it).
"""

from typing import NamedTuple

import numpy as np

DIGITS = 3  # to which the difference to a threshold is rounded
STRICTER = 0.01  # by how much thresholds are lowered once a special concept was detected


class Concepts(NamedTuple):
    """Embeddings of concepts in CLIP's space, and the thresholds of the cosine with an image.

    special, special_limits: [m, dim] and [m], of concepts that lower the others' thresholds
    vectors, limits:         [n, dim] and [n], of unwanted concepts
    """

    special: np.ndarray
    special_limits: np.ndarray
    vectors: np.ndarray
    limits: np.ndarray


def scores(concepts: Concepts, embeddings: np.ndarray) -> np.ndarray:
    """The difference of each cosine to its threshold, [B, n], for embeddings [B, dim] of images."""
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
    """Whether any concept exceeds its threshold, bool [B]."""
    return np.any(scores(concepts, embeddings) > 0, axis=1)


def _cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[B, dim], [n, dim] -> [B, n]."""
    x, y = (np.float32(a / np.linalg.norm(a, axis=1, keepdims=True)) for a in (x, y))
    return x @ y.T
