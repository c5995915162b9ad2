"""Log-likelihoods of images under a decoder, and the bits per dimension that these amount to.

Log-likelihoods are in nats, summed over an example. With the posterior q(z|x), the bound of Kingma
and Welling 2014 (eq. 3) on the log-probability of an image is

    log p(x) >= L(x) = E_q(z|x)[log p(x|z)] - KL(q(z|x) || p(z)).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ldm_jax.types import Array

LEVELS = 256  # of 8-bit values


def bernoulli(x: Array, logits: Array) -> Array:
    """log p(x) = sum_i x_i log y_i + (1 - x_i) log(1 - y_i) with y = sigmoid(logits), [B].

    Kingma and Welling 2014, eq. 11. For grey x it is the mean over binary images whose pixels are
    white with probability x.

    Args:
        x: [B, D] in [0, 1].
    """
    return jnp.sum(x * logits - jax.nn.softplus(logits), axis=-1)


def gaussian(x: Array, mean: Array, log_variance: Array) -> Array:
    """log N(x; mean, diag(exp(log_variance))) of x [B, D], a density, [B] (same, eq. 12)."""
    square = jnp.square(x - mean) * jnp.exp(-log_variance)
    return -0.5 * jnp.sum(jnp.log(2 * jnp.pi) + log_variance + square, axis=-1)


def dequantized(x: Array, keys: Array) -> Array:
    """8-bit values, each uniform over its bin: 255 x = k becomes (k + u) / 256, u in [0, 1).

    Without it, the density of a constant value could be raised without bound.

    Args:
        x: [B, D] in [0, 1].
        keys: [B], one key an example.
    """
    u = jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:]))(keys)
    return ((LEVELS - 1) * x + u) / LEVELS


def in_bins(log_density: Array, dimensions: int) -> Array:
    """A bound on the log-probability of 8-bit values, from the density at dequantized ones.

    By Jensen's inequality, in bins of width 1/256 (Theis et al. 2016, section 3.1):

        log P(k) = log int_bin p(x) dx >= E_u[log p((k + u) / 256)] + D log(1/256).
    """
    return log_density - dimensions * jnp.log(LEVELS)


def bits_per_dimension(log_probability: Array, dimensions: int) -> Array:
    """-log_2 P / D from nats an example; 8 for the uniform distribution of 8-bit values."""
    return -log_probability / (dimensions * jnp.log(2.0))


class Likelihood(NamedTuple):
    """p(x|z) of D values in [0, 1], as a function of the decoder's outputs.

    parameters:      of the distribution, for each value
    mean:            [B, D, parameters] -> E[x|z] [B, D]
    log_probability: (x [B, D], [B, D, parameters], keys [B]) -> [B] nats
    """

    parameters: int
    mean: Callable[[Array], Array]
    log_probability: Callable[[Array, Array, Array], Array]


def _gaussian_mean(outputs: Array) -> Array:
    return jax.nn.sigmoid(
        outputs[..., 0]
    )  # as Kingma and Welling 2014, section 5, keep it in (0, 1)


def _gaussian_in_bins(x: Array, outputs: Array, keys: Array) -> Array:
    density = gaussian(dequantized(x, keys), _gaussian_mean(outputs), outputs[..., 1])
    return in_bins(density, x.shape[-1])


BERNOULLI = Likelihood(  # of binary pixels
    1,
    lambda outputs: jax.nn.sigmoid(outputs[..., 0]),
    lambda x, outputs, keys: bernoulli(x, outputs[..., 0]),
)
GAUSSIAN = Likelihood(2, _gaussian_mean, _gaussian_in_bins)  # of 8-bit values
