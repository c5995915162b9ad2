"""The tables of the noising process that files of the original hold, [T] float32 each."""

import numpy as np


def schedule(betas: np.ndarray) -> dict[str, np.ndarray]:
    """All twelve, by the original's names, from beta_1 ... beta_T [T] float64.

    Ho et al. 2020: eq. 4, and eq. 6 and 7 for the posterior of a step.
    """
    alphas = 1.0 - betas
    bar = np.cumprod(alphas)
    before = np.append(1.0, bar[:-1])
    variance = betas * (1.0 - before) / (1.0 - bar)
    tables = {
        "betas": betas,
        "alphas_cumprod": bar,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": np.sqrt(bar),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1.0 - bar),
        "log_one_minus_alphas_cumprod": np.log(1.0 - bar),
        "sqrt_recip_alphas_cumprod": np.sqrt(1.0 / bar),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1.0 / bar - 1.0),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": np.log(np.maximum(variance, 1e-20)),
        "posterior_mean_coef1": betas * np.sqrt(before) / (1.0 - bar),
        "posterior_mean_coef2": (1.0 - before) * np.sqrt(alphas) / (1.0 - bar),
    }
    return {name: table.astype(np.float32) for name, table in tables.items()}
