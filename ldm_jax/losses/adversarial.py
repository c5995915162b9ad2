"""Adversarial losses of a discriminator and of the generator (here: a first stage).

Logits [B, h, w, 1] are above zero where a patch is classified as real; each loss is a scalar.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ldm_jax.types import Array, Params


class AdversarialLoss(NamedTuple):
    """Two losses.

    discriminator: (logits of images, logits of reconstructions) -> the discriminator's loss
    generator:     logits of reconstructions -> the generator's loss
    """

    discriminator: Callable[[Array, Array], Array]
    generator: Callable[[Array], Array]


def _hinge(real: Array, fake: Array) -> Array:
    return 0.5 * (jnp.mean(jax.nn.relu(1.0 - real)) + jnp.mean(jax.nn.relu(1.0 + fake)))


def _logistic(real: Array, fake: Array) -> Array:
    return 0.5 * (jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake)))


def _raise_logits(fake: Array) -> Array:
    return -jnp.mean(fake)


hinge = AdversarialLoss(_hinge, _raise_logits)  # Lim and Ye 2017, as in VQGAN
vanilla = AdversarialLoss(_logistic, _raise_logits)  # the original's other choice
non_saturating = AdversarialLoss(
    _logistic, lambda fake: jnp.mean(jax.nn.softplus(-fake))
)  # Goodfellow 2014


def adaptive_weight(rest: Array, adversary: Array) -> Array:
    """|gradient of the rest| / (|gradient of the adversarial loss| + 1e-4), at most 1e4.

    Esser et al. 2021, eq. 7. Both are gradients with respect to the last layer's kernel.
    """
    ratio = jnp.linalg.norm(rest.ravel()) / (jnp.linalg.norm(adversary.ravel()) + 1e-4)
    return jnp.clip(ratio, 0.0, 1e4)


def r1(logits_of: Callable[[Array], Array], images: Array) -> Array:
    """Half the mean squared gradient of an image's mean logit (Mescheder et al. 2018, eq. 9)."""

    def total(x):
        return jnp.sum(jnp.mean(logits_of(x), axis=(1, 2, 3)))

    return 0.5 * jnp.mean(jnp.sum(jnp.square(jax.grad(total)(images)), axis=(1, 2, 3)))


def lecam(real: Array, fake: Array, means: Params) -> Array:
    """Keeps logits near the moving mean of the other kind's (Tseng et al. 2021, eq. 4).

    Args:
        means: {"real", "fake"}, moving means of the logits.
    """
    above = jnp.mean(jnp.square(jax.nn.relu(real - means["fake"])))
    below = jnp.mean(jnp.square(jax.nn.relu(means["real"] - fake)))
    return above + below
