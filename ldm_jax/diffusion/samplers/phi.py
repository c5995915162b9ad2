"""The phi functions of exponential integrators (Hochbruck and Ostermann 2010)."""

import math

import jax.numpy as jnp

from ldm_jax.types import Array


def phi(k: int, x: Array) -> Array:
    """phi_k(x), the sum over j of x^j / (j + k)!, for finite x <= 0.

    phi_0 = exp, phi_k+1(x) = (phi_k(x) - 1 / k!) / x; by the series near 0, where that cancels.
    """
    far = jnp.where(jnp.abs(x) < 1, -1.0, x)
    value = jnp.exp(far)
    for i in range(k):
        value = (value - 1 / math.factorial(i)) / far
    near = jnp.where(jnp.abs(x) < 1, x, 0.0)
    series = 0.0
    for j in reversed(range(12)):  # Horner
        series = series * near + 1 / math.factorial(j + k)
    return jnp.where(jnp.abs(x) < 1, series, value)
