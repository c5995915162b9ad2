"""Step variances beta_1 ... beta_T of the discrete processes, [T] float64."""

import numpy as np


def linear(T: int, start: float = 1e-4, end: float = 0.02) -> np.ndarray:
    """beta linear in t (Ho et al. 2020, section 4; their 1e-4 ... 0.02)."""
    return np.linspace(start, end, T, dtype=np.float64)


def scaled_linear(T: int, start: float = 0.0015, end: float = 0.0195) -> np.ndarray:
    """sqrt(beta) linear in t (the schedule that the latent diffusion code calls "linear")."""
    return np.linspace(start**0.5, end**0.5, T, dtype=np.float64) ** 2


def sqrt(T: int, start: float = 0.0015, end: float = 0.0195) -> np.ndarray:
    """beta^2 linear in t, between start and end (the latent diffusion code's "sqrt")."""
    return linear(T, start, end) ** 0.5


def cosine(T: int, s: float = 0.008, largest: float = 0.999) -> np.ndarray:
    """The cosine schedule (Nichol and Dhariwal 2021, eq. 17)."""
    f = np.cos((np.arange(T + 1, dtype=np.float64) / T + s) / (1 + s) * np.pi / 2) ** 2
    return np.minimum(1.0 - f[1:] / f[:-1], largest)


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
