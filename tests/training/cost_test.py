"""What a step costs is counted from its trace."""

import jax
import jax.numpy as jnp
import pytest

from ldm_jax.training import cost


def count(function, *shapes):
    return cost.flops(jax.make_jaxpr(function)(*(jnp.zeros(shape) for shape in shapes)))


def test_a_product_is_two_operations_a_term():
    assert count(jnp.matmul, (3, 5), (5, 7)) == 2 * 3 * 5 * 7
    assert count(jnp.matmul, (2, 3, 5), (2, 5, 7)) == 2 * 2 * 3 * 5 * 7


def test_a_convolution_is_one_product_a_place():
    def convolve(x, w, stride=1, groups=1):
        return jax.lax.conv_general_dilated(
            x,
            w,
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    assert count(convolve, (2, 8, 8, 5), (3, 3, 5, 7)) == 2 * (2 * 8 * 8 * 7) * (3 * 3 * 5)
    strided = count(lambda x, w: convolve(x, w, 2), (2, 8, 8, 5), (3, 3, 5, 7))
    assert strided == 2 * (2 * 4 * 4 * 7) * (3 * 3 * 5)
    grouped = count(lambda x, w: convolve(x, w, 1, 5), (2, 8, 8, 5), (3, 3, 1, 5))
    assert grouped == 2 * (2 * 8 * 8 * 5) * (3 * 3)


def test_the_way_back_costs_twice_the_way_there():
    def loss(x, w):
        return jnp.sum(x @ w)

    there = count(loss, (3, 5), (5, 7))
    assert count(jax.value_and_grad(loss, (0, 1)), (3, 5), (5, 7)) == 3 * there
    again = jax.checkpoint(lambda x, w: jnp.sum(jnp.sin(x @ w) @ w.T))
    assert count(jax.grad(again, (0, 1)), (3, 5), (5, 7)) > 3 * count(again, (3, 5), (5, 7))


def test_bodies_count_as_often_as_they_run():
    def looped(x):
        return jax.lax.scan(lambda y, _: (y @ y, None), x, length=6)[0]

    assert count(looped, (4, 4)) == 6 * 2 * 4**3
    mapped = count(lambda x: jax.lax.map(lambda y: jax.jit(jnp.matmul)(y, y), x), (8, 4, 4))
    assert mapped == 8 * 2 * 4**3
    chosen = count(lambda x: jax.lax.cond(x[0, 0] > 0, lambda y: y @ y, lambda y: y, x), (4, 4))
    assert chosen == 2 * 4**3


@pytest.mark.parametrize("form", ["all-reduce(", "all-reduce-start("])
def test_communication_is_counted_where_it_starts(form):
    text = f"""
      a = f32[2]{{0}} {form}f32[2]{{0}} p), replica_groups={{}}
      b = f32[2]{{0}} all-reduce-done(f32[2]{{0}} a)
      c = f32[8]{{0}} all-gather(f32[2]{{0}} b), dimensions={{0}}
      d = f32[8]{{0}} add(f32[8]{{0}} c, f32[8]{{0}} c)
    """
    assert cost.collectives(text) == {"all-reduce": 1, "all-gather": 1}


def test_bytes_are_those_of_what_is_given_and_what_is_kept():
    compiled = jax.jit(lambda x, y: x + y).lower(jnp.zeros((4, 4)), jnp.zeros((4, 4))).compile()
    found = cost.bytes_a_device(compiled)
    assert found["state"] == 2 * 64 and found["results"] == 64
