"""The Inception Score: high for confident predictions that vary over the images."""

from itertools import pairwise

import numpy as np

from ldm_jax.metrics.mmd import Estimate
from ldm_jax.settings import check_within


def inception_score(logits: np.ndarray, splits: int = 10, seed: int | None = 2020) -> Estimate:
    """exp E_x KL(p(y|x) || p(y)) (Salimans et al. 2016) over `splits` parts of logits [N, classes].

    The networks of the literature give logits without the last layer's bias. torch-fidelity
    shuffles the examples (with seed 2020), as is done here; with seed None they stay in order, as
    in guided diffusion's evaluator (ADM), with parts of 5000.

    Raises:
        InputError: fewer examples than parts.
    """
    check_within(splits, "splits", 1, len(logits), "the examples")
    x = np.asarray(logits, np.float64)
    if seed is not None:
        x = x[np.random.RandomState(seed).permutation(len(x))]
    x = x - x.max(axis=1, keepdims=True)
    log_p = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    bounds = [n * len(x) // splits for n in range(splits + 1)]
    scores = []
    for start, end in pairwise(bounds):
        marginal = p[start:end].mean(axis=0)
        # a class without examples has p log p = 0 in every row
        log_marginal = np.log(np.where(marginal > 0, marginal, 1.0))
        divergence = (p[start:end] * (log_p[start:end] - log_marginal)).sum(axis=1)
        scores.append(np.exp(divergence.mean()))
    return Estimate(float(np.mean(scores)), float(np.std(scores)))
