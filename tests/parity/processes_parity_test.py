"""Processes, learned variance and guidance against diffusers.

The reference arrays are made by `make/process_reference.py`; diffusers keeps its tables in float32.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import prediction
from ldm_jax.diffusion.guidance.classifier_free import classifier_free, rescale
from ldm_jax.diffusion.guidance.joint import apart
from ldm_jax.diffusion.guidance.scale import constant
from ldm_jax.diffusion.guidance.threshold import threshold
from ldm_jax.diffusion.posterior import reverse_step
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.processes import betas, flow
from ldm_jax.diffusion.processes.betas import zero_terminal_snr
from ldm_jax.diffusion.processes.ddpm import ddpm
from ldm_jax.diffusion.processes.edm import EDM
from ldm_jax.types import Denoised
from tests.parity import compare
from tests.parity.cases import process_cases as cases
from tests.parity.folders import ARRAYS


@pytest.fixture(scope="module")
def reference():
    with np.load(ARRAYS / "processes.npz") as arrays:
        return dict(arrays)


def close(ours, reference, tolerance=2e-6):
    assert compare.errors(np.asarray(ours), reference)[1] < tolerance


@pytest.mark.parametrize("name", cases.ZERO_SNR)
def test_zero_terminal_snr(reference, name):
    table = getattr(betas, name)(cases.T, *cases.ZERO_SNR[name])
    close(ddpm(zero_terminal_snr(table)).alphas[1:] ** 2, reference[f"zero snr {name}"])


def test_edm_sigmas_and_what_the_network_is_given(reference):
    p, times = EDM(cases.EDM_STEPS), jnp.arange(cases.EDM_STEPS, -1, -1)
    close(p.alpha_sigma(times)[1], reference["edm sigmas"])
    close(p.timestep(times[:-1]), reference["edm c_noise"])


@pytest.mark.parametrize("shift", cases.SHIFTS)
def test_shifted_flows(reference, shift):
    p, times = flow.Flow(flow.rectified, cases.T, shift), jnp.arange(cases.T, 0, -1)
    close(p.alpha_sigma(times)[1], reference[f"flow sigmas {shift:g}"])
    close(p.timestep(times), reference[f"flow timesteps {shift:g}"])


def test_learned_variance(reference):
    """But for t = 1, where diffusers takes 1e-20 for the posterior's variance, no training's."""
    p = ddpm(betas.linear(cases.T))
    x = jnp.asarray(cases.VARIANCE)
    for t, expected in zip(cases.TIMES, reference["learned log-variance"], strict=True):
        at = jnp.full(len(x), t)
        found = reverse_step(p, Denoised(x, (x + 1) / 2), x, at, at - 1).log_variance
        close(found, expected, 2e-4)


def test_rescaled_guidance_of_v(reference):
    p, kind = ddpm(betas.linear(cases.T)), prediction.v
    z, t = jnp.zeros(cases.SHAPE), jnp.full(cases.SHAPE[0], 500)
    rates = alpha_sigma_like(p, t, z)

    def answers(raw):
        return lambda z, t: Denoised(kind.x0(jnp.asarray(raw), z, *rates))

    adjust = rescale(cases.FRACTION, p, kind)
    given, unconditional = answers(cases.COND), answers(cases.UNCOND)
    x0 = classifier_free(given, apart(unconditional, given), constant(cases.SCALE), adjust)(z, t).x0
    raw = kind.target(x0, prediction.noise_of(x0, z, *rates), *rates)
    # torch's standard deviation divides by n - 1, the same on both sides of the ratio
    close(raw, reference["rescaled"], 2e-5)


def test_dynamic_thresholding(reference):
    """diffusers' limit is 1."""
    wide = jnp.asarray(cases.WIDE)
    found = threshold(lambda z, t: Denoised(wide), 1.0, 0.9)(wide, None).x0
    close(found, reference["thresholded"])
