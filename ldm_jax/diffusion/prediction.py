"""What a network predicts, and how clean data follows from it.

Each prediction is a pair of functions of alpha and sigma: the target that the loss compares with,
and the x0 that a raw output stands for.
"""

from collections.abc import Callable
from typing import NamedTuple

from ldm_jax.types import Array


class Prediction(NamedTuple):
    """One parametrisation of the denoiser; alpha and sigma broadcast against the data.

    target: (x0, noise, alpha, sigma) -> what the network should answer
    x0:     (raw output, z, alpha, sigma) -> clean data
    """

    target: Callable[[Array, Array, Array, Array], Array]
    x0: Callable[[Array, Array, Array, Array], Array]


# Ho et al. 2020, eq. 9 and 14: the noise itself.
eps = Prediction(
    target=lambda x0, noise, alpha, sigma: noise,
    x0=lambda raw, z, alpha, sigma: (z - sigma * raw) / alpha,
)

# Salimans and Ho 2022, appendix D: v = alpha eps - sigma x.
v = Prediction(
    target=lambda x0, noise, alpha, sigma: alpha * noise - sigma * x0,
    x0=lambda raw, z, alpha, sigma: alpha * z - sigma * raw,
)


def noise_of(x0: Array, z: Array, alpha: Array, sigma: Array) -> Array:
    """The noise that a belief in x0 implies: eps = (z - alpha x0) / sigma, for sigma > 0."""
    return (z - alpha * x0) / sigma
