"""Prior preservation: one batch's loss is that of a subject and that of its class."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.config import DiffusionLoss
from ldm_jax.train_step import prior_preservation
from ldm_jax.train_step.diffusion import diffusion_loss
from tests.support import tiny

B = 4
PRIOR = jnp.array([False, True, False, True])


def test_weights_make_the_mean_the_sum_of_two_means():
    losses = jnp.array([1.0, 10.0, 3.0, 30.0])
    total = jnp.mean(prior_preservation.weights(PRIOR, 0.5) * losses)
    np.testing.assert_allclose(total, 2.0 + 0.5 * 20.0)
    found = prior_preservation.metrics(PRIOR, losses)
    np.testing.assert_allclose([found["subject"], found["class"]], [2.0, 20.0])


@functools.cache
def case():
    model, params, _ = tiny.model(tiny.experiment())
    image = jax.random.normal(jax.random.key(1), (B, tiny.SIZE, tiny.SIZE, 3))
    tokens = jnp.arange(8 * B).reshape(B, 8) % 12
    return model, params, {"image": image, "tokens": tokens, "prior": PRIOR}


@pytest.mark.parametrize("weight", ["none", "min_snr"])
def test_the_loss_is_that_of_both_parts_each_with_weights_of_its_own_times(weight):
    model, params, batch = case()
    config, keys = DiffusionLoss(weight=weight), tiny.keys(B)
    both = jax.jit(diffusion_loss(model, config, 0.0, prior=0.3))
    alone = jax.jit(diffusion_loss(model, config, 0.0))
    total, (metrics, times, _) = both(params, batch, keys)
    parts = {}
    for name, side in (("subject", ~PRIOR), ("class", PRIOR)):
        own = {key: x[side] for key, x in batch.items()}
        parts[name], (_, own_times, _) = alone(params, own, keys[side])
        np.testing.assert_array_equal(own_times, times[side])
        np.testing.assert_allclose(metrics[name], parts[name], rtol=1e-5)
    np.testing.assert_allclose(total, parts["subject"] + 0.3 * parts["class"], rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], total)
