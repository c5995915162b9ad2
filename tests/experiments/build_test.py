"""Every choice that a config offers is built."""

from typing import get_args, get_type_hints

import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.config import Diffusion

CHOICES = get_type_hints(Diffusion)


@pytest.mark.parametrize("schedule", get_args(CHOICES["schedule"]))
@pytest.mark.parametrize("steps", [1, 20])
def test_every_schedule_is_a_process(schedule, steps):
    p = Diffusion(schedule=schedule, steps=steps).build_process()
    assert steps == p.T
    alpha, sigma = p.alpha_sigma(jnp.linspace(0, steps, 7))
    assert (alpha[0], sigma[0]) == (1.0, 0.0)
    assert np.isfinite([alpha, sigma]).all()
    assert sigma[-1] > sigma[1]


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "cosine", "sqrt"])
def test_tables_may_end_in_zero_snr(schedule):
    p = Diffusion(schedule=schedule, zero_terminal_snr=True).build_process()
    assert p.alpha_sigma(jnp.array(1000)) == (0.0, 1.0)


def test_the_numbers_of_a_process_reach_it():
    def rates(at, **changes):
        return Diffusion(**changes).build_process().alpha_sigma(jnp.array(at))

    np.testing.assert_allclose(rates(1, schedule="edm", sigma_min=0.1)[1], 0.1, rtol=1e-6)
    np.testing.assert_allclose(rates(1000, schedule="edm", sigma_max=9.0)[1], 9.0, rtol=1e-6)
    ramp = (0.002**0.5 + 80**0.5) / 2
    halfway = rates(500.5, schedule="edm", rho=2.0)[1]
    np.testing.assert_allclose(halfway, ramp**2, rtol=1e-5)
    for schedule in ("flow", "cosine_flow"):
        shifted = rates(500, schedule=schedule, shift=3.0)
        np.testing.assert_allclose(shifted, rates(750, schedule=schedule), rtol=1e-6)
    np.testing.assert_allclose(rates(1, schedule="sqrt", beta_start=0.04)[1] ** 2, 0.2, rtol=1e-6)


@pytest.mark.parametrize("name", get_args(CHOICES["prediction"]))
def test_every_prediction_is_what_it_is_called(name):
    x0, noise, alpha, sigma = (jnp.array(x) for x in (2.0, 3.0, 0.8, 0.6))
    targets = {"eps": 3.0, "x0": 2.0, "v": 1.2, "velocity": 1.0}
    targets["edm"] = (0.6 / 0.5 * 2 - 0.8 * 0.5 * 3) / (0.36 + 0.16) ** 0.5
    kind = Diffusion(prediction=name, data_std=0.5).build_prediction()
    np.testing.assert_allclose(kind.target(x0, noise, alpha, sigma), targets[name], rtol=1e-6)
