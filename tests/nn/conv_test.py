"""Every form of a convolution is the same convolution."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from ldm_jax.nn import conv
from ldm_jax.nn.conv import Conv3x3
from ldm_jax.nn.cpu import winograd
from tests.support import tiny

KEEPING = [  # taps, padding
    ((3, 3), ((1, 1), (1, 1))),
    ((2, 2), ((1, 0), (0, 1))),  # as in upsample.py
    ((3, 1), ((0, 2), (0, 0))),
]


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


def given(taps, width=5):
    """x, a kernel, and a change of y."""
    return normal(2, 6, width, 3), normal(*taps, 3, 4, seed=1), normal(2, 6, width, 4, seed=2)


def assert_close(found, expected):
    tiny.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("taps", "padding"), KEEPING)
@pytest.mark.parametrize("form", [conv.by_eigen, conv.by_patches])
def test_forward(form, taps, padding):
    x, kernel, _ = given(taps)
    assert_close(form(x, kernel, padding), conv.by_xla(x, kernel, padding))


@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 2), (2, 0))])
def test_winograds_products_are_the_convolution_and_its_gradients(padding):
    x, kernel, g = normal(2, 6, 4, 3), normal(3, 3, 3, 5, seed=1), normal(2, 6, 4, 5, seed=2)
    expected, back = jax.vjp(lambda x, kernel: conv.by_xla(x, kernel, padding), x, kernel)
    dx, dk = back(g)
    assert_close(winograd.convolved(x, kernel, padding), expected)
    assert_close(winograd.gradient_by_x(g, kernel, padding), dx)
    assert_close(winograd.gradient_by_kernel(x, g, padding), dk)


@pytest.mark.parametrize(("taps", "padding"), KEEPING)
def test_gradient_by_x(taps, padding):
    x, kernel, g = given(taps)
    (expected,) = jax.vjp(lambda x: conv.by_xla(x, kernel, padding), x)[1](g)
    assert_close(conv.spread_by_taps(g, kernel, padding), expected)


@pytest.mark.parametrize(("taps", "padding"), KEEPING)
@pytest.mark.parametrize("channels", [(3, 4), (4, 3)])
@pytest.mark.parametrize(
    "form", [conv.kernel_by_patches, conv.kernel_by_blocks, conv.kernel_by_shifts]
)
def test_gradient_by_the_kernel(form, channels, taps, padding, monkeypatch):
    monkeypatch.setattr(conv, "BLOCK", 2 * 2 * 5)  # two rows of two images
    C, D = channels
    x, kernel, g = normal(2, 6, 5, C), normal(*taps, C, D, seed=1), normal(2, 6, 5, D, seed=2)
    (expected,) = jax.vjp(lambda kernel: conv.by_xla(x, kernel, padding), kernel)[1](g)
    assert_close(form(x, g, kernel.shape, padding), expected)


@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 1), (0, 1))])
def test_forward_with_a_stride(padding, monkeypatch):
    x, kernel = normal(2, 6, 8, 3), normal(3, 3, 3, 4, seed=1)
    expected = conv.by_xla(x, kernel, padding, 2)
    assert expected.shape == (2, 3, 4, 4)
    assert_close(conv.by_patches(x, kernel, padding, 2), expected)
    monkeypatch.setattr(conv, "MANY_WEIGHTS", 1)
    assert_close(conv.conv(x, kernel, padding, 2), expected)


LIMITS = (
    *("SOME_CHANNELS", "SOME_WEIGHTS", "MANY_WEIGHTS", "VERY_MANY_WEIGHTS"),
    *("VERY_FEW_PLACES", "FEW_PLACES", "SOME_PLACES", "MANY_PLACES", "FEW_OF_A_ROW"),
    "SEVERAL_WEIGHTS",
)


@pytest.mark.parametrize(("taps", "padding"), KEEPING)
@pytest.mark.parametrize(
    "limits",
    [
        (99, 99, 99, 99, 0, 0, 0, 99, 0, 99),  # few channels
        (99, 99, 99, 99, 0, 0, 0, 9, 99, 99),
        (1, 1, 99, 99, 0, 0, 9, 99, 99, 99),
        (1, 1, 1, 99, 0, 0, 0, 99, 99, 1),  # of an even width Winograd's
        (1, 1, 99, 99, 0, 0, 99, 99, 99, 1),  # likewise
        (1, 1, 1, 1, 0, 99, 0, 99, 99, 99),
        (1, 1, 1, 1, 99, 99, 0, 1, 99, 99),
    ],
)
@pytest.mark.parametrize("width", [5, 4])  # as Winograd has it, an even one
def test_whatever_is_chosen_it_is_one_function(width, limits, taps, padding, monkeypatch):
    x, kernel, g = given(taps, width)
    expected, back = jax.vjp(lambda *given: conv.by_xla(*given, padding), x, kernel)
    for name, limit in zip(LIMITS, limits, strict=True):
        monkeypatch.setattr(conv, name, limit)
    found, found_back = jax.vjp(lambda *given: conv.conv(*given, padding), x, kernel)
    assert_close(found, expected)
    assert_close(found_back(g), back(g))


Flax = functools.partial(nn.Conv, kernel_size=(3, 3), padding=1)


def test_the_layer_is_flaxs():
    plain, here = Flax(5), Conv3x3(5)
    x = normal(1, 4, 4, 3)
    expected = plain.init(jax.random.key(0), x)
    tiny.assert_same(here.init(jax.random.key(0), x), expected)
    drawn = tiny.drawn(plain.init, x)
    assert_close(here.apply(drawn, x), plain.apply(drawn, x))
    half, whole = (module(5, dtype="bfloat16") for module in (Conv3x3, Flax))
    found, expected = half.apply(drawn, x), whole.apply(drawn, x)
    assert found.dtype == jnp.bfloat16
    assert_close(found.astype(jnp.float32), expected.astype(jnp.float32))
