"""Attention on a mesh of eight simulated devices, in each form (the TPU's kernel interpreted)."""

import functools
import os
import sys
from pathlib import Path

os.environ["JAX_NUM_CPU_DEVICES"] = "8"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.config import Mesh
from ldm_jax.nn import attention as layers
from ldm_jax.nn.cpu.blockwise import blockwise
from ldm_jax.nn.cpu.recomputed import recomputed
from ldm_jax.nn.splash import splash
from ldm_jax.runtime.sharding import devices

calls = []


def recorded(form):
    """That notes what it is given."""

    @functools.wraps(form)
    def function(q, k, v, **settings):
        calls.append(q.shape)
        return form(q, k, v, **settings)

    return function


def step(state, frozen, batch, key, average, gather):
    """Moves what q, k and v are multiplied with down the gradient."""

    def loss(w):
        return jnp.mean(jnp.sin(layers.attention(*(w[name] * batch[name] for name in "qkv"))))

    value, gradients = average(jax.value_and_grad(loss)(state))
    return jax.tree.map(lambda w, g: w - 100.0 * g, state, gradients), {"loss": value}


def one(tree):
    return tree


state = {name: np.ones((2, 40), np.float32) for name in "qkv"}
batch = {
    name: np.random.default_rng(i).normal(size=(8, 130, 2, 40)).astype(np.float32)
    for i, name in enumerate("qkv")
}
expected = jax.jit(functools.partial(step, average=one, gather=one))(state, {}, batch, None)

spread = devices("jit", Mesh(data=2, fsdp=2, tensor=2))


def check():
    """A step on eight devices is that on one, and each device sees its part."""
    calls.clear()
    placed = spread.place(state)
    found = spread.parallelize(step, placed)(placed, {}, spread.split(batch), jax.random.key(0))
    assert set(calls) == {(2, 130, 1, 40)}, calls  # of 8 examples and 2 heads
    assert max(np.abs(found[0][name] - state[name]).max() for name in "qkv") > 1e-2
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    jax.tree.map(close, found, expected)


layers.recomputed = recorded(recomputed)
check()
layers.FEW, layers.blockwise = 0, recorded(blockwise)
check()
jax.default_backend = lambda: "tpu"
layers.LONG, layers.splash = 128, recorded(functools.partial(splash, interpret=True))
check()
