"""The loss of pairs among all pairs."""

import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.losses.contrastive import contrastive


def unit(*shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_it_is_the_cross_entropy_of_rows_and_of_columns():
    x, y = unit(5, 7), unit(5, 7, seed=1)
    e = np.exp(3.0 * x @ y.T)
    rows = [-np.log(e[i, i] / e[i].sum()) for i in range(5)]
    columns = [-np.log(e[i, i] / e[:, i].sum()) for i in range(5)]
    loss, logits = contrastive(jnp.float32(x), jnp.float32(y), 3.0)
    assert loss == pytest.approx((np.mean(rows) + np.mean(columns)) / 2, rel=1e-5)
    np.testing.assert_allclose(logits, np.log(e), atol=1e-5)


def test_images_and_captions_may_be_exchanged():
    x, y = jnp.float32(unit(5, 7)), jnp.float32(unit(5, 7, seed=1))
    one, other = (float(contrastive(*pair, 3.0)[0]) for pair in ((x, y), (y, x)))
    assert one == pytest.approx(other, rel=1e-5)


def test_what_is_indistinguishable_costs_the_logarithm_of_the_batch():
    x = jnp.ones((5, 1))
    assert contrastive(x, x, 9.0)[0] == pytest.approx(np.log(5), rel=1e-6)


def test_pairs_at_right_angles_to_all_others_cost_nothing_at_a_large_scale():
    x = jnp.eye(5)
    assert contrastive(x, x, 100.0)[0] < 1e-6
