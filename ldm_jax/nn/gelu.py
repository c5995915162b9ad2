"""The Gaussian error linear unit, and the approximation that OpenAI's CLIP uses."""

import jax

from ldm_jax.types import Array


def gelu(x: Array) -> Array:
    """x Phi(x) (Hendrycks and Gimpel 2016), by erf.

    `jax.nn.gelu` uses erfc, which is more exact far below 0, where the value is nearly zero; a CPU
    takes more than twice as long for it.
    """
    return 0.5 * x * (1.0 + jax.lax.erf(x * 2**-0.5))


def quick_gelu(x: Array) -> Array:
    """x sigmoid(1.702 x), of OpenAI's weights."""
    return x * jax.nn.sigmoid(1.702 * x)
