"""Attention as its formula, on arrays that every form of it is tried with."""

import jax
import jax.numpy as jnp
import numpy as np

B, N, M, HEADS, D = 2, 12, 9, 3, 4
Q = jax.random.normal(jax.random.key(0), (B, N, HEADS, D))
K, V = jax.random.normal(jax.random.key(1), (2, B, M, HEADS, D))
G = jax.random.normal(jax.random.key(2), Q.shape)
MASK = jnp.arange(M) < jnp.array([[M], [4]])


def formula(q, k, v, mask=None):
    s = jnp.einsum("bnhd,bmhd->bhnm", q, k) / np.sqrt(D)
    if mask is not None:
        s = jnp.where(mask[:, None, None], s, -jnp.inf)
    return jnp.einsum("bhnm,bmhd->bnhd", jax.nn.softmax(s), v)


def is_the_formula(form, mask):
    """Asserts that form(q, k, v) has the formula's value and gradients."""
    with jax.default_matmul_precision("highest"):
        found = jax.jit(lambda: _value_and_gradients(form))()
        expected = _value_and_gradients(lambda q, k, v: formula(q, k, v, mask))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def _value_and_gradients(function):
    value, back = jax.vjp(function, Q, K, V)
    return value, *back(G)
