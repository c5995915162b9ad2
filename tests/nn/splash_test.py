"""The kernel for TPUs is attention, and is chosen where it helps and can be spread.

No TPU: numbers come from Pallas's interpreter, programs for a TPU from lowering, which needs none.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ldm_jax.nn import attention as layers
from ldm_jax.nn.splash import splash
from ldm_jax.runtime.sharding import AXES, EXAMPLES, each_device

KERNEL = "tpu_custom_call"


def formula(q, k, v):
    s = jnp.einsum("bnhd,bmhd->bhnm", q, k) / np.sqrt(q.shape[-1])
    return jnp.einsum("bhnm,bmhd->bnhd", jax.nn.softmax(s), v)


def value_and_gradients(function, *arrays):
    def both(q, k, v, g):
        value, back = jax.vjp(function, q, k, v)
        return value, *back(g)

    return jax.jit(both)(*arrays)


def drawn(n, m, d, dtype=jnp.float32):
    """Queries, keys, values and the gradient of the output, of two examples and two heads."""
    shapes = [(2, n, 2, d), (2, m, 2, d), (2, m, 2, d), (2, n, 2, d)]
    keys = jax.random.split(jax.random.key(0), 4)
    return [jax.random.normal(*x).astype(dtype) for x in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize(
    ("n", "m", "d"),
    [(128, 128, 128), (130, 600, 40)],
    ids=["whole blocks", "filled up, more than a block of keys"],
)
def test_the_kernel_gives_the_formula_and_its_gradients(n, m, d):
    interpreted = functools.partial(splash, interpret=True)
    with jax.default_matmul_precision("highest"):
        found = value_and_gradients(interpreted, *drawn(n, m, d))
        expected = value_and_gradients(formula, *drawn(n, m, d))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=3e-6)


def test_16_bits_stay_16_bits():
    arrays = drawn(130, 140, 40, jnp.bfloat16)
    found = value_and_gradients(functools.partial(splash, interpret=True), *arrays)
    expected = value_and_gradients(formula, *(x.astype(jnp.float32) for x in arrays))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == jnp.bfloat16
        np.testing.assert_allclose(one.astype(jnp.float32), other, atol=0.03)


@pytest.fixture
def on_tpu(monkeypatch):
    """What is traced is meant for a TPU."""
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")


def backward(q, k, v):
    def total(q, k, v):
        return jnp.sum(layers.attention(q, k, v).astype(jnp.float32))

    return jax.grad(total, (0, 1, 2))(q, k, v)


def program(function, *arrays):
    """The text of a function's program for TPUs."""
    return jax.jit(function).trace(*arrays).lower(lowering_platforms=("tpu",)).as_text()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_latent_of_64_x_64_is_attended_to_by_the_kernel(on_tpu, dtype):
    q = jax.ShapeDtypeStruct((4, 4096, 8, 40), dtype)  # the first attention of Stable Diffusion 1
    assert program(layers.attention, q, q, q).count(KERNEL) == 1
    assert program(backward, q, q, q).count(KERNEL) == 3  # once more forward; dq; dk and dv


@pytest.mark.parametrize(
    ("n", "m", "mask"),
    [(4096, 77, False), (1024, 1024, False), (4096, 4096, True)],
    ids=["captions", "a smaller latent", "a mask"],
)
def test_what_the_kernel_does_not_help_is_left_to_the_compiler(on_tpu, n, m, mask):
    q, k = (jax.ShapeDtypeStruct((1, length, 8, 40), jnp.float32) for length in (n, m))
    given = (jax.ShapeDtypeStruct((1, m), bool),) if mask else ()
    assert KERNEL not in program(layers.attention, q, k, k, *given)


@pytest.mark.parametrize(("batch", "heads", "spread"), [(8, 8, True), (6, 8, False), (8, 1, False)])
def test_over_a_mesh_each_device_has_its_examples_and_heads(on_tpu, batch, heads, spread):
    mesh = AbstractMesh((2, 2, 2), AXES)
    place = NamedSharding(mesh, P(*EXAMPLES) if batch % 4 == 0 else P())
    q = jax.ShapeDtypeStruct((batch, 4096, heads, 40), jnp.float32, sharding=place)
    with jax.sharding.use_abstract_mesh(mesh):
        text = program(backward, q, q, q)
    assert text.count(KERNEL) == (3 if spread else 0)
    assert ("tensor<2x4x4096x128xf32>" in text) == spread  # a part: of 8 examples 2, of 8 heads 4


def test_where_no_mesh_says_which_device_holds_what_the_kernel_is_not_used(on_tpu, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    q = jax.ShapeDtypeStruct((8, 4096, 8, 40), jnp.float32)
    assert KERNEL not in program(layers.attention, q, q, q)


def test_within_pmap_each_device_has_its_part(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    assert each_device(formula, 8, 8) is None
    found = []

    def one_of_many(x):
        found.append(each_device(formula, 1, 8))
        return x

    jax.pmap(one_of_many, "data")(jnp.zeros(1))
    assert found[0] is formula
