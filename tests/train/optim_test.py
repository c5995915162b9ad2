"""Learning rates and the optimizer."""

import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.config import Optim
from ldm_jax.train.optim import learning_rate, optimizer


def rates(steps=100, **settings):
    schedule = learning_rate(Optim(lr=0.4, **settings), steps)
    return np.array([schedule(n) for n in range(steps + 1)])


def test_a_constant_rate_is_constant():
    np.testing.assert_allclose(rates(), 0.4)


@pytest.mark.parametrize("warmup", [1, 4, 100])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warm_up_rises_by_equal_parts_to_the_rate(schedule, warmup):
    found = rates(schedule=schedule, warmup=warmup)[:warmup]
    np.testing.assert_allclose(found, 0.4 * np.arange(1, warmup + 1) / warmup, rtol=1e-5)


@pytest.mark.parametrize("warmup", [0, 20])
def test_cosine_falls_from_the_rate_to_zero(warmup):
    """lr (1 + cos(pi x)) / 2 with x from 0 after the warm-up to 1 at the last step."""
    x = np.arange(101 - warmup) / (100 - warmup)
    expected = 0.4 * (1 + np.cos(np.pi * x)) / 2
    found = rates(schedule="cosine", warmup=warmup)[warmup:]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def updates(config, gradients, w=1.0):
    transform = optimizer(config, 100)
    params = {"w": jnp.array([w, w])}
    state, found = transform.init(params), []
    for gradient in gradients:
        update, state = transform.update({"w": jnp.asarray(gradient)}, state, params)
        found.append(update["w"])
    return np.array(found)


def test_the_first_adam_update_is_the_rate_against_the_sign():
    found = updates(Optim(lr=0.1, clip=None), [[3.0, -0.01]])
    np.testing.assert_allclose(found, [[-0.1, 0.1]], rtol=1e-4)


def test_clipping_bounds_the_gradients_norm_and_leaves_small_ones():
    large, small = np.array([30.0, 40.0]), np.array([0.1, 0.2])
    np.testing.assert_allclose(
        updates(Optim(clip=2.0), [large, small]),
        updates(Optim(clip=None), [large / 25, small]),
        rtol=1e-5,
    )


def test_weight_decay_is_apart_from_the_gradient():
    """AdamW: each update takes lr * decay * w from w, whatever the moments (eq. 12)."""
    gradients = [[3.0, -0.01], [1.0, 1.0]]
    decayed = updates(Optim(lr=0.1, weight_decay=0.05), gradients, w=2.0)
    plain = updates(Optim(lr=0.1), gradients, w=2.0)
    np.testing.assert_allclose(decayed, plain - 0.1 * 0.05 * 2.0, atol=1e-6)
