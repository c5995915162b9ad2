"""Doubling within a convolution is doubling and a convolution."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.nn.upsample import DoubledConv, Upsample, doubled
from tests.support import tiny


def normal(*shape):
    return jax.random.normal(jax.random.key(len(shape)), shape)


class Plain(nn.Module):
    """The formula."""

    use_bias: bool = True

    @nn.compact
    def __call__(self, x):
        return nn.Conv(5, (3, 3), padding=1, use_bias=self.use_bias, name="conv")(doubled(x))


def test_doubling_repeats_each_position_four_times():
    x = normal(2, 3, 4, 2)
    np.testing.assert_array_equal(doubled(x), x.repeat(2, axis=1).repeat(2, axis=2))


def test_upsampling_by_the_middle_tap_repeats_each_position_four_times():
    module, x = Upsample(), normal(2, 3, 4, 2)
    middle = jnp.zeros((3, 3, 2, 2)).at[1, 1].set(jnp.eye(2))
    y = module.apply({"params": {"conv": {"kernel": middle, "bias": jnp.zeros(2)}}}, x)
    np.testing.assert_array_equal(y, doubled(x))


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (3, 4)])
def test_it_is_the_convolution_of_the_doubled_image_and_so_are_its_gradients(size, use_bias):
    x = normal(2, *size, 3)
    given = tiny.drawn(Plain(use_bias).init, x)["params"]["conv"]

    def plain(params, x):
        return Plain(use_bias).apply({"params": {"conv": params}}, x)

    def here(params, x):
        return DoubledConv(5, use_bias=use_bias).apply({"params": params}, x)

    with jax.default_matmul_precision("highest"):
        expected, expected_back = jax.vjp(plain, given, x)
        found, found_back = jax.vjp(here, given, x)
        change = normal(*expected.shape)
        tiny.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        tiny.assert_close(found_back(change), expected_back(change), rtol=1e-5, atol=1e-5)


def test_its_parameters_begin_as_those_of_flaxs_convolution():
    plain, here = nn.Conv(5, (3, 3)), DoubledConv(5)
    found, expected = (
        module.init(jax.random.key(0), normal(1, 2, 2, 3)) for module in (here, plain)
    )
    tiny.assert_same(found, expected)


def test_taps_are_added_before_they_are_rounded():
    x = jnp.ones((1, 2, 2, 1))
    kernel = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1 + 1.9 / 512).at[2, 1].set(0.9 / 512)
    y = DoubledConv(1, use_bias=False, dtype="bfloat16").apply({"params": {"kernel": kernel}}, x)
    assert y.dtype == jnp.bfloat16
    assert float(y[0, 2, 0, 0]) == 1 + 4 / 512  # each rounded before, they would give 1
