"""Distances between an image and its reconstruction."""

from typing import Literal

import jax.numpy as jnp

from ldm_jax.types import Array


def l1(image: Array, reconstruction: Array) -> Array:
    """Absolute error summed over each image: [B, H, W, C] twice -> [B]."""
    return jnp.sum(jnp.abs(image - reconstruction), axis=(1, 2, 3))


def l2(image: Array, reconstruction: Array) -> Array:
    """Squared error summed over each image: [B, H, W, C] twice -> [B]."""
    return jnp.sum(jnp.square(image - reconstruction), axis=(1, 2, 3))


def negative_log_likelihood(
    error: Array,
    perceptual: Array | float,
    log_variance: Array,
    numbers: int,
    reduction: Literal["sum", "mean"],
) -> Array:
    """(|x - y| + p) / exp(s) + s summed over the values of an image, [B] (the original's nll_loss).

    Args:
        error: [B], summed over each image's values.
        perceptual: [B], a distance of images, counted once for each value; or 0.
        log_variance: s, a scalar.
        numbers: H W C.
        reduction: over each image's values.
    """
    total = (error + numbers * perceptual) * jnp.exp(-log_variance) + numbers * log_variance
    return total if reduction == "sum" else total / numbers
