"""Weights of the simple loss, as their papers state them for what a network predicts."""

import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import prediction
from ldm_jax.diffusion.losses.weights import min_snr, of_raw, p2
from ldm_jax.diffusion.processes import betas
from ldm_jax.diffusion.processes.betas import zero_terminal_snr
from ldm_jax.diffusion.processes.ddpm import ddpm

TIMES = jnp.array([1, 20, 200, 500, 1000])
ALPHA, SIGMA = ddpm(betas.linear(1000)).alpha_sigma(TIMES)
BAR = np.cumprod(1.0 - betas.linear(1000))[np.asarray(TIMES) - 1]
SNR = BAR / (1.0 - BAR)


def raw(weight, name):
    return of_raw(weight, getattr(prediction, name), ALPHA, SIGMA)


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr(gamma):
    """Hang et al. 2023: min(SNR, gamma) for x0, over SNR for eps, over SNR + 1 for v."""
    least = np.minimum(SNR, gamma)
    np.testing.assert_allclose(raw(min_snr(gamma), "x0"), least, rtol=1e-4)
    np.testing.assert_allclose(raw(min_snr(gamma), "eps"), least / SNR, rtol=1e-4)
    np.testing.assert_allclose(raw(min_snr(gamma), "v"), least / (SNR + 1), rtol=1e-4)


@pytest.mark.parametrize(("k", "gamma"), [(1.0, 0.5), (1.0, 1.0), (2.0, 1.0)])
def test_p2(k, gamma):
    """Choi et al. 2022, eq. 8: the loss of eps over (k + SNR)^gamma."""
    np.testing.assert_allclose(raw(p2(k, gamma), "eps"), 1 / (k + SNR) ** gamma, rtol=1e-4)
    np.testing.assert_allclose(raw(p2(k, gamma), "x0"), SNR / (k + SNR) ** gamma, rtol=1e-4)


@pytest.mark.parametrize("weight", [min_snr(5.0), p2(1.0, 1.0)])
@pytest.mark.parametrize("kind", ["x0", "v", "velocity"])
def test_weights_are_finite_where_nothing_is_left_of_the_data(weight, kind):
    alpha, sigma = ddpm(zero_terminal_snr(betas.linear(1000))).alpha_sigma(jnp.array([999, 1000]))
    found = of_raw(weight, getattr(prediction, kind), alpha, sigma)
    assert np.isfinite(found).all()
