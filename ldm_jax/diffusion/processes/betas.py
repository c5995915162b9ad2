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
