"""Two sets of features by which metrics are compared; drawn, so that no file holds them."""

import numpy as np

from tests.parity.cases.drawn import normal

SUBSETS, SUBSET_SIZE, SPLITS = 10, 100, 10


def features() -> tuple[np.ndarray, np.ndarray]:
    """Samples [300, 24] and real examples [400, 24], float32, of different mean and covariance."""
    real = normal("features real", (400, 24)) @ normal("features mix", (24, 24))
    samples = 0.8 * normal("features samples", (300, 24)) @ normal("features mix", (24, 24))
    return np.abs(samples + 0.5 * normal("features shift", (24,))), np.abs(real)


def logits() -> np.ndarray:
    """[300, 11] float32."""
    return 2.0 * normal("features logits", (300, 11))
