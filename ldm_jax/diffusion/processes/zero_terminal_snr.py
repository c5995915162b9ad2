"""Zero terminal signal-to-noise ratio (Lin et al. 2024)."""

import numpy as np


def zero_terminal_snr(betas: np.ndarray) -> np.ndarray:
    """Step variances after which nothing of the data is left (Lin et al. 2024, algorithm 1).

    alpha is shifted to end at 0 and scaled to begin where it did. The last beta is then 1, and z_T
    does not depend on the data: a network cannot predict eps there.

    Args:
        betas: [T] beta_1 ... beta_T.
    """
    alpha = np.sqrt(np.cumprod(1.0 - np.asarray(betas, np.float64)))
    first, last = alpha[0], alpha[-1]
    alpha_bar = np.square((alpha - last) * first / (first - last))
    return 1.0 - alpha_bar / np.concatenate([[1.0], alpha_bar[:-1]])
