"""PyTorch's cubic convolution, as it resizes."""

import numpy as np

COEFFICIENT = -0.75


def cubic_weights(n: int, m: int, offset: float = 0.0) -> np.ndarray:
    """Weights of n values at m positions by cubic convolution (Keys 1981), [m, n]; smooths nothing.

    Position i is at (i + 1/2) n / (m + offset) - 1/2; beyond the ends the last value is repeated.
    """
    a, at = COEFFICIENT, (np.arange(m) + 0.5) * n / (m + offset) - 0.5
    low = np.floor(at).astype(int)
    weights = np.zeros((m, n))
    for step in range(-1, 3):
        d = np.abs(at - (low + step))
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * (d**3 - 5 * d**2 + 8 * d - 4)
        column = np.clip(low + step, 0, n - 1)
        np.add.at(weights, (np.arange(m), column), np.where(d <= 1, near, far))
    return weights
