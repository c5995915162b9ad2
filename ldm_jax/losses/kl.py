"""The divergence of a posterior from the prior."""

import jax.numpy as jnp

from ldm_jax.types import Array, Gaussian


def kl_to_standard_normal(q: Gaussian) -> Array:
    """KL(q || N(0, I)) of each example in nats, [B] (Kingma and Welling 2014, appendix B)."""
    terms = jnp.square(q.mean) + jnp.exp(q.log_variance) - 1.0 - q.log_variance
    return 0.5 * jnp.sum(terms, axis=(1, 2, 3))
