"""Weight-decomposed low-rank adaptation (Liu et al. 2024, DoRA): magnitudes and directions.

W' = m (W + delta) / |W + delta|, equation 5, with a norm and a magnitude m a row, or a column, of
the weight.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from ldm_jax.types import Array

Along = Literal["rows", "columns"]  # of the published weight [O, I, ...]
# what a scale other than 1 multiplies, which each library decides for itself:
# "change"     W + scale (W' - W), so that 0 is the base (AUTOMATIC1111's web UI)
# "delta"      the low-rank part inside the norm (PEFT)
# "magnitude"  the change of the magnitudes alone, (W + delta)(1 + scale (m / |W + delta| - 1))
#              (LyCORIS' modules)
Scaled = Literal["change", "delta", "magnitude"]


def norms(kernel: Array, along: Along) -> Array:
    """The norm of each row [O], or of each column [I, 1], of a kernel [..., I, O]."""
    square = jnp.square(kernel.astype(jnp.float32))
    if along == "rows":
        return jnp.sqrt(jnp.sum(square, axis=range(kernel.ndim - 1)))
    axes = (*range(kernel.ndim - 2), kernel.ndim - 1)
    return jnp.sqrt(jnp.sum(square, axis=axes))[:, None]


def decomposed(kernel: Array, delta: Array, magnitude: Array, scale, scaled: Scaled) -> Array:
    """W' of a kernel [..., I, O] and magnitudes [O] or [I, 1].

    The norm is a constant to the gradient (section 4.3, equation 11).
    """
    whole = kernel + (scale * delta if scaled == "delta" else delta)
    along = "rows" if magnitude.ndim == 1 else "columns"
    ratio = magnitude / jax.lax.stop_gradient(norms(whole, along))
    if scaled == "change":
        return kernel + scale * (ratio * whole - kernel)
    return whole * (1 + scale * (ratio - 1)) if scaled == "magnitude" else ratio * whole
