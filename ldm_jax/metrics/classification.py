"""Accuracy and confusion of a classifier."""

import numpy as np


def ensemble(embeddings: np.ndarray) -> np.ndarray:
    """Several descriptions of each class as one direction (Radford et al. 2021, section 3.1.4).

    [K, T, dim] of unit length -> [K, dim], their means at unit length.
    """
    mean = np.mean(np.asarray(embeddings, np.float64), axis=1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def top(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
    """The share of rows [N, K] whose label [N] is among the k highest; of equal ones the first."""
    highest = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    return float(np.mean(np.any(highest == labels[:, None], axis=1)))


def confusion(found: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Examples of class i that were classified as class j, [count, count]."""
    table = np.zeros((count, count), np.int64)
    np.add.at(table, (labels, found), 1)
    return table
