"""Attention by blocks is attention, in value and in gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.nn import attention as layers
from ldm_jax.nn.cpu.blockwise import blockwise
from tests.nn.attention_formula import HEADS, MASK, B, K, M, Q, V, formula, is_the_formula


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
@pytest.mark.parametrize("serial", [True, False])
@pytest.mark.parametrize("block", [1, 10, 4 * B * M * HEADS, 10**6])
def test_blocks_of_any_size_give_the_formula_and_its_gradients(block, serial, mask):
    is_the_formula(lambda q, k, v: blockwise(q, k, v, mask, block, serial), mask)


def test_no_array_holds_all_scores_where_they_are_many():
    # 1024 x 1024 scores of 2 x 16 heads are 34 million; the arrays of q, k and v are 262 thousand
    q = jax.ShapeDtypeStruct((2, 1024, 16, 8), jnp.float32)

    def loss(q, k, v):
        return jnp.sum(layers.attention(q, k, v) ** 2)

    jaxpr = jax.make_jaxpr(jax.grad(loss, (0, 1, 2)))(q, q, q)
    assert largest(jaxpr.jaxpr) <= 2**21
    plain = jax.make_jaxpr(jax.grad(lambda *qkv: jnp.sum(formula(*qkv) ** 2)))(q, q, q)
    assert largest(plain.jaxpr) == 2 * 16 * 1024**2


def largest(jaxpr) -> int:
    """Elements of the largest array that is computed."""
    sizes = [v.aval.size for eqn in jaxpr.eqns for v in eqn.outvars if hasattr(v.aval, "size")]
    inner = []
    for eqn in jaxpr.eqns:
        for value in jax.tree.leaves(eqn.params, is_leaf=lambda x: hasattr(x, "eqns")):
            body = getattr(value, "jaxpr", value)
            if hasattr(body, "eqns"):
                inner.append(largest(body))
    return max([*sizes, *inner], default=0)


def test_few_scores_and_many_are_the_same_attention():
    big = jax.random.normal(jax.random.key(3), (1, 640, 1, 8))
    many = layers.attention(big, big, big)  # 409,600 scores: by blocks
    few = jnp.concatenate(
        [layers.attention(big[:, i : i + 320], big, big) for i in (0, 320)], axis=1
    )  # 204,800 scores each: at once
    np.testing.assert_allclose(many, few, rtol=1e-5, atol=1e-6)


def test_16_bits_stay_16_bits():
    half = blockwise(*(x.astype(jnp.bfloat16) for x in (Q, K, V)))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), formula(Q, K, V), atol=0.03)
