"""Predictions: the target that the loss compares with and the x0 that it stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import prediction, process
from ldm_jax.diffusion.denoiser import denoiser

PREDICTIONS = {"eps": prediction.eps, "v": prediction.v}
PROCESS = process.ddpm(process.scaled_linear_betas(1000))
X0, NOISE = jax.random.normal(jax.random.key(0), (2, 1, 4, 4, 2))

every_prediction = pytest.mark.parametrize("kind", PREDICTIONS.values(), ids=PREDICTIONS)
every_time = pytest.mark.parametrize("t", [1, 2, 50, 500, 999, 1000])


@every_prediction
@every_time
def test_x0_undoes_target(kind, t):
    alpha, sigma = PROCESS.rates(jnp.array(t))
    z = alpha * X0 + sigma * NOISE
    raw = kind.target(X0, NOISE, alpha, sigma)
    rounding = 1e-6 * sigma / alpha  # of the noise, which x0 loses
    np.testing.assert_allclose(kind.x0(raw, z, alpha, sigma), X0, atol=2e-6 + 4 * rounding)


@every_time
def test_the_noise_behind_x0(t):
    alpha, sigma = PROCESS.rates(jnp.array(t))
    z = alpha * X0 + sigma * NOISE
    noise = prediction.noise_of(X0, z, alpha, sigma)
    np.testing.assert_allclose(noise, NOISE, atol=2e-6 + 1e-6 * alpha / sigma)


def test_v_is_the_velocity_of_the_rotation():
    """With alpha = cos(phi), sigma = sin(phi): v = dz / dphi (Salimans and Ho 2022)."""
    phi = jnp.linspace(0.1, 1.4, 5)[:, None, None, None]

    def z(phi):
        return jnp.cos(phi) * X0 + jnp.sin(phi) * NOISE

    _, velocity = jax.jvp(z, (phi,), (jnp.ones_like(phi),))
    v = prediction.v.target(X0, NOISE, jnp.cos(phi), jnp.sin(phi))
    np.testing.assert_allclose(v, velocity, rtol=1e-5, atol=1e-6)


@every_prediction
def test_a_denoiser_tells_its_network_z_and_the_step(kind):
    told = {}
    t = jnp.array([1, 500, 1000])
    x0, noise = jax.random.normal(jax.random.key(1), (2, 3, 4, 4, 2))
    z = process.add_noise(PROCESS, x0, noise, t)

    def perfect(z, steps):
        told.update(z=z, steps=steps)
        return kind.target(x0, noise, *process.rates_like(PROCESS, steps + 1, z))

    answer = denoiser(perfect, PROCESS, kind)(z, t)
    np.testing.assert_allclose(answer.x0, x0, atol=1e-4)
    assert answer.log_variance is None
    assert told["z"] is z
    assert told["steps"].tolist() == [0, 499, 999]
