"""Layers in the form that costs least are those of Flax, in value, gradient and params."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.nn.dense import DenseHalves, dense
from ldm_jax.nn.gelu import gelu
from ldm_jax.nn.norm import GroupNorm
from tests.support import tiny


class One(nn.Module):
    """A layer that is made inside, under the name that it shares with its pair."""

    make: object

    @nn.compact
    def __call__(self, x):
        return self.make()(x)


class JoinedHalves(nn.Module):
    """What DenseHalves is equal to."""

    features: int

    @nn.compact
    def __call__(self, x):
        return tuple(jnp.split(nn.Dense(self.features, name="layer")(x), 2, axis=-1))


PAIRS = {
    "dense": (
        One(lambda: dense(6, "layer")),
        One(lambda: nn.Dense(6, name="layer")),
    ),
    "dense without bias": (
        One(lambda: dense(6, "layer", use_bias=False)),
        One(lambda: nn.Dense(6, use_bias=False, name="layer")),
    ),
    "halves": (One(lambda: DenseHalves(6, name="layer")), JoinedHalves(6)),
    "group norm": (
        One(lambda: GroupNorm(2, 1e-5, name="layer")),
        One(lambda: nn.GroupNorm(2, epsilon=1e-5, name="layer")),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 8), (2, 3, 4, 8)])
def test_a_layer_is_flaxs_with_the_same_params(name, shape):
    ours, flaxs = PAIRS[name]
    x = 3.0 + jax.random.normal(jax.random.key(0), shape)
    params = tiny.drawn(ours.init, x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        lambda y: y.shape, jax.eval_shape(flaxs.init, jax.random.key(0), x)
    )

    @jax.jit
    def value_and_gradients(params, x):
        def total(module, params, x):
            y = jax.tree.leaves(module.apply(params, x))
            return sum(jnp.sum(jnp.sin(part + i)) for i, part in enumerate(y)), y

        return [
            jax.grad(lambda *given, module=module: total(module, *given), (0, 1), has_aux=True)(
                params, x
            )
            for module in (ours, flaxs)
        ]

    found, expected = value_and_gradients(params, x)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_products_in_16_bits_stay_so():
    x = jnp.ones((2, 3, 8))
    for make in (lambda: dense(6, "layer", dtype="bfloat16"), lambda: DenseHalves(6, "bfloat16")):
        y, params = One(make).init_with_output(jax.random.key(0), x)
        assert {part.dtype for part in jax.tree.leaves(y)} == {jnp.dtype("bfloat16")}
        assert {part.dtype for part in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_gelu_is_x_times_the_normal_distribution_function():
    x = jnp.linspace(-6, 6, 101)
    np.testing.assert_allclose(gelu(x), x * jax.scipy.stats.norm.cdf(x), atol=2e-6)
