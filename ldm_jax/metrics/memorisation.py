"""Whether samples are copies of training examples."""

from typing import NamedTuple

import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.metrics.neighbours import nearest


class Memorisation(NamedTuple):
    """The nearest training examples of each sample.

    index:        int [N, k], training examples, nearest first
    distance:     [N, k], their distances
    ratio:        [N], the distance to the nearest, divided by that from it to its own nearest
                  training example
    authenticity: share of samples with a ratio above 1
    """

    index: np.ndarray
    distance: np.ndarray
    ratio: np.ndarray
    authenticity: float


def memorisation(samples: np.ndarray, training: np.ndarray, k: int = 3) -> Memorisation:
    """Of features [N, d] of samples and [M, d] of all training examples.

    A sample is not authentic if it is nearer to a training example than any other training example
    is (Alaa et al. 2022, section 4.3). Of samples as good as new training examples half are
    authentic, of copies none. The ratio orders them; inspect them by eye.

    Raises:
        InputError: fewer than k training examples or than two.
    """
    if len(training) < 2:
        raise InputError(f"{len(training)} training examples: expected at least 2 to compare with")
    found = nearest(samples, training, k)
    near, which = np.unique(found.index[:, 0], return_inverse=True)
    others = nearest(training[near], training, 2)
    # of the two nearest one is the example itself, unless there are copies of it
    own = others.distance[:, 1][which]
    first = found.distance[:, 0]
    ratio = np.divide(first, own, out=np.where(first > 0, np.inf, 0.0), where=own > 0)
    return Memorisation(found.index, found.distance, ratio, float(np.mean(ratio > 1.0)))
