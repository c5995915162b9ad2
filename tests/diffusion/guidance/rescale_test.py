"""Rescaled guidance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion.guidance.classifier_free import classifier_free, rescale
from ldm_jax.diffusion.guidance.joint import apart
from ldm_jax.diffusion.guidance.scale import constant
from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.types import Denoised
from tests.support.every import PREDICTIONS, PROCESSES

P = PROCESSES["zero_terminal_snr"]
Z = jax.random.normal(jax.random.key(0), (3, 8, 8, 2))
T = jnp.array([20, 400, 1000])


def conditional(z, t):
    return Denoised(jnp.maximum(z, -0.5) + 1.0)


def unconditional(z, t):
    return Denoised(0.5 * z)


BOTH = apart(unconditional, conditional)


def raw(kind, x0):
    alpha, sigma = alpha_sigma_like(P, T, Z)
    return np.asarray(kind.target(x0, noise_of(x0, Z, alpha, sigma), alpha, sigma), np.float64)


def guided(kind, fraction):
    adjust = rescale(jnp.float32(fraction), P, kind)
    return classifier_free(conditional, BOTH, constant(7.5), adjust)(Z, T).x0


def std(x):
    return x.std(axis=(1, 2, 3), keepdims=True)


@pytest.mark.parametrize("name", ["v", "x0", "edm"])
def test_in_full_it_keeps_the_standard_deviation_of_the_output(name):
    kind = PREDICTIONS[name]
    given, plain = raw(kind, conditional(Z, T).x0), raw(kind, guided(kind, 0.0))
    assert np.all(std(plain) > 1.2 * std(given))
    np.testing.assert_allclose(std(raw(kind, guided(kind, 1.0))), std(given), rtol=1e-3)


@pytest.mark.parametrize("fraction", [0.3, 0.7])
def test_a_fraction_of_it_is_equation_16(fraction):
    """The network predicts v, as in the paper."""
    kind = PREDICTIONS["v"]
    given, plain = raw(kind, conditional(Z, T).x0), raw(kind, guided(kind, 0.0))
    rescaled = plain * std(given) / std(plain)
    expected = fraction * rescaled + (1 - fraction) * plain
    np.testing.assert_allclose(raw(kind, guided(kind, fraction)), expected, atol=1e-2)


def test_without_it_guidance_is_as_it_was():
    plain = classifier_free(conditional, BOTH, constant(7.5))(Z, T).x0
    np.testing.assert_array_equal(guided(PREDICTIONS["v"], 0.0), plain)
