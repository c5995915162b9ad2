"""The simple loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import prediction
from ldm_jax.diffusion.losses.simple import huber, simple

X0, NOISE = jax.random.normal(jax.random.key(0), (2, 4, 4, 4, 2))
ALPHA = jnp.array([0.9999, 0.9, 0.5, 0.01]).reshape(4, 1, 1, 1)
SIGMA = jnp.sqrt(1 - ALPHA**2)
OFF = jnp.array([0.0, 1.0, 2.0, 3.0]).reshape(4, 1, 1, 1)
KINDS = {name: getattr(prediction, name) for name in ("eps", "x0", "v", "velocity")}


def loss(kind, off, **changes):
    raw = kind.target(X0, NOISE, ALPHA, SIGMA) + off
    return simple(raw, kind, X0, NOISE, ALPHA, SIGMA, **changes)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_network_that_is_off_by_d_loses_d_squared(kind):
    np.testing.assert_allclose(loss(kind, OFF), [0.0, 1.0, 4.0, 9.0], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_each_example_has_its_own_loss(kind):
    target = kind.target(X0, NOISE, ALPHA, SIGMA)
    raw = (target + 1.0).at[2].add(1.0)
    np.testing.assert_allclose(
        simple(raw, kind, X0, NOISE, ALPHA, SIGMA), [1.0, 1.0, 4.0, 1.0], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("distance", "expected"),
    [(jnp.square, [0, 1, 4, 9]), (jnp.abs, [0, 1, 2, 3]), (huber(1.5), [0, 1, 3.75, 6.75])],
    ids=["l2", "l1", "huber"],
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_distances(distance, expected, sign):
    found = loss(KINDS["eps"], sign * OFF, distance=distance)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_huber_is_smooth_where_its_halves_meet():
    slope = jax.grad(lambda error: huber(0.7)(error))
    np.testing.assert_allclose(slope(0.7 - 1e-6), slope(0.7 + 1e-6), rtol=1e-5)
    np.testing.assert_allclose(huber(0.7)(0.7 - 1e-6), huber(0.7)(0.7 + 1e-6), rtol=1e-5)
