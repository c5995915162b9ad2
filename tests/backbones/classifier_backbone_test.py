"""A classifier of latents: what changes its output, and what does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.backbones.classifier import AttentionPool, ClassifierModule
from ldm_jax.config import Classifier as Config
from tests.support import tiny

CONFIG = Config(
    channels=8,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention_factors=(2,),
    head_channels=4,
    norm_groups=4,
)
NETWORK = ClassifierModule(CONFIG, num_classes=3)
Z = jax.random.normal(jax.random.key(0), (2, 4, 4, 2))
STEPS = jnp.array([0, 7])


@functools.cache
def params():
    return tiny.drawn(lambda key: NETWORK.init(key, Z, STEPS)["params"])


@functools.cache
def compiled():
    return jax.jit(lambda p, z, steps: NETWORK.apply({"params": p}, z, steps))


def logits(z=Z, steps=STEPS):
    return np.asarray(compiled()(params(), z, steps))


def test_it_has_a_number_for_every_class_of_every_example():
    assert logits().shape == (2, 3)
    assert np.all(np.isfinite(logits()))


def test_an_example_is_classified_by_itself():
    np.testing.assert_allclose(logits(Z[::-1], STEPS[::-1]), logits()[::-1], atol=1e-5)
    other = logits(Z.at[1].set(0.0))
    np.testing.assert_allclose(other[0], logits()[0], atol=1e-5)
    assert np.max(np.abs(other[1] - logits()[1])) > 1e-2


@pytest.mark.parametrize("change", [{"z": Z + 0.5 * Z**2}, {"steps": STEPS + 50}], ids=["z", "t"])
def test_latents_and_time_count(change):
    assert np.max(np.abs(logits(**change) - logits())) > 1e-3


def test_every_latent_has_a_say():
    gradient = jax.grad(lambda z: jnp.sum(compiled()(params(), z, STEPS) ** 2))(Z)
    assert np.all(np.abs(gradient) > 0.0)


def test_the_pool_asks_for_the_mean_alone_and_knows_where_things_are():
    pool = AttentionPool(head_channels=4, out_channels=5)
    x = jax.random.normal(jax.random.key(1), (1, 2, 2, 8))
    p = tiny.drawn(lambda key: pool.init(key, x)["params"])
    turned = jnp.rot90(x, axes=(1, 2))
    call = jax.jit(lambda p, x: pool.apply({"params": p}, x))
    assert np.max(np.abs(call(p, x) - call(p, turned))) > 1e-3
    nowhere = {**p, "positions": jnp.zeros_like(p["positions"])}
    np.testing.assert_allclose(call(nowhere, x), call(nowhere, turned), atol=1e-5)
