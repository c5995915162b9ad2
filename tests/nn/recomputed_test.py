"""Attention of all heads at once is attention, in value and in gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.nn.cpu.recomputed import recomputed
from tests.nn.attention_formula import HEADS, MASK, B, K, M, N, Q, V, formula, is_the_formula


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
@pytest.mark.parametrize("serial", [True, False])
@pytest.mark.parametrize("block", [1, 4 * N * M, 10**6])
def test_it_gives_the_formula_and_its_gradients(block, serial, mask):
    is_the_formula(lambda q, k, v: recomputed(q, k, v, mask, block, serial), mask)


def test_where_nothing_may_be_attended_to_it_is_the_mean():
    found = recomputed(Q, K, V, jnp.zeros((B, M), bool))
    mean = jnp.mean(V, axis=1, keepdims=True)
    np.testing.assert_allclose(found, jnp.broadcast_to(mean, Q.shape), rtol=1e-5, atol=1e-6)


def test_scores_of_any_size_overflow_nowhere():
    one, other = (recomputed(1e4 * Q, K, V), formula(1e4 * Q, K, V))
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_nothing_of_the_size_of_the_scores_is_kept():
    _, back = jax.vjp(recomputed, Q, K, V)
    kept = max(x.size for x in jax.tree.leaves(back))
    assert kept < B * HEADS * N * M


def test_16_bits_stay_16_bits():
    half = recomputed(*(x.astype(jnp.bfloat16) for x in (Q, K, V)))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), formula(Q, K, V), atol=0.03)
