"""Classifier-free guidance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import process
from ldm_jax.diffusion.guidance.classifier_free import classifier_free
from ldm_jax.diffusion.guidance.joint import apart
from ldm_jax.diffusion.guidance.scale import SCHEDULES, constant, interval, linear
from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.diffusion.processes import betas
from ldm_jax.diffusion.processes.ddpm import ddpm
from ldm_jax.types import Denoised

PROCESS = ddpm(betas.linear(1000))
Z = jax.random.normal(jax.random.key(0), (3, 2, 2, 1))
TIMES = jnp.array([10, 400, 1000])


def conditional(z, t):
    return Denoised(jnp.maximum(z, -0.5) + 1.0)


def unconditional(z, t):
    return Denoised(0.5 * z)


BOTH = apart(unconditional, conditional)


def guided(scale):
    return classifier_free(conditional, BOTH, constant(jnp.float32(scale)))(Z, TIMES).x0


def test_scale_one_is_the_conditional_model():
    np.testing.assert_array_equal(guided(1.0), conditional(Z, TIMES).x0)


def test_scale_zero_is_the_unconditional_model():
    np.testing.assert_array_equal(guided(0.0), unconditional(Z, TIMES).x0)


@pytest.mark.parametrize("scale", [-1.0, 0.5, 2.0, 7.5])
def test_guidance_is_linear_in_its_scale(scale):
    given, uncond = conditional(Z, TIMES).x0, unconditional(Z, TIMES).x0
    np.testing.assert_allclose(guided(scale), scale * given + (1 - scale) * uncond, atol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 2.0, 7.5])
def test_guiding_x0_is_guiding_the_noise(scale):
    """eps = (1 + w) eps_c - w eps_u with w = scale - 1 (Ho and Salimans 2022, eq. 6)."""
    alpha, sigma = process.alpha_sigma_like(PROCESS, TIMES, Z)
    given, uncond = (
        noise_of(model(Z, TIMES).x0, Z, alpha, sigma) for model in (conditional, unconditional)
    )
    w = scale - 1
    found = noise_of(guided(scale), Z, alpha, sigma)
    np.testing.assert_allclose(found, (1 + w) * given - w * uncond, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("scale", "calls"), [(1.0, 0), (2.0, 1)])
def test_no_guidance_does_not_pay_for_the_other_model(scale, calls):
    counted = []

    def costly(z, t):
        jax.debug.callback(lambda: counted.append(1))
        return unconditional(z, t)

    jax.block_until_ready(
        classifier_free(conditional, apart(costly, conditional), constant(jnp.float32(scale)))(
            Z, TIMES
        )
    )
    jax.effects_barrier()
    assert len(counted) == calls


def test_the_variance_stays_the_conditional_ones():
    def learned(z, t):
        return conditional(z, t)._replace(variance_fraction=jnp.full_like(z, 0.3))

    answer = classifier_free(learned, apart(unconditional, learned), constant(3.0))(Z, TIMES)
    np.testing.assert_allclose(answer.variance_fraction, 0.3)


def test_examples_at_scale_one_are_left_as_they_are_among_others():
    scales = jnp.array([1.0, 2.0, 1.0])
    found = classifier_free(conditional, BOTH, lambda t: scales)(Z, TIMES).x0
    given, uncond = conditional(Z, TIMES).x0, unconditional(Z, TIMES).x0
    np.testing.assert_array_equal(found[::2], given[::2])
    np.testing.assert_allclose(found[1], 2 * given[1] - uncond[1], rtol=1e-6)


def test_a_linear_scale_goes_from_noise_to_data():
    scale = linear(9.0, 1.0, PROCESS)
    np.testing.assert_allclose(scale(jnp.array([1000, 500, 0])), [9.0, 5.0, 1.0])


def test_an_interval_of_noise_levels_is_guided_and_the_rest_is_not():
    alpha, sigma = PROCESS.alpha_sigma(jnp.arange(0, 1001))
    scale = interval(constant(4.0), PROCESS, 0.28, 2.9)(jnp.arange(0, 1001))
    within = (sigma / alpha > 0.28) & (sigma / alpha <= 2.9)
    assert 0 < within.sum() < 1000
    np.testing.assert_array_equal(scale, jnp.where(within, 4.0, 1.0))
    everywhere = interval(constant(4.0), PROCESS, 0.0, jnp.inf)(jnp.arange(1, 1001))
    np.testing.assert_array_equal(everywhere, 4.0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_has_the_scale_as_its_mean_and_rises_towards_data(name):
    t = jnp.linspace(0.0, PROCESS.T, 1001)
    scale = SCHEDULES[name](3.0, PROCESS)(t)
    np.testing.assert_allclose(np.mean(scale), 3.0, rtol=1e-5)
    np.testing.assert_allclose(
        np.mean(scale[:501]),
        {"constant": 3.0, "linear": 4.0}.get(name, 3.0 + 2.0 * 2.0 / np.pi),
        rtol=1e-2,
    )
    if name != "constant":
        assert np.all(np.diff(scale) < 1e-5)
        np.testing.assert_allclose(scale[jnp.array([0, -1])], [5.0, 1.0], atol=1e-5)
