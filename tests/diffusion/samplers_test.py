"""Samplers, against a Gaussian whose every x0 is known.

Where x_0 ~ N(m, s^2), z_t ~ N(alpha m, alpha^2 s^2 + sigma^2) and E[x_0 | z_t] is linear in z_t.
The probability flow keeps (z_t - alpha m) / std(z_t), so it is known as well.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import prediction, spacing
from ldm_jax.diffusion.denoiser import denoiser
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.processes import betas
from ldm_jax.diffusion.processes.ddpm import ddpm as discrete
from ldm_jax.diffusion.samplers.ddim import ddim
from ldm_jax.diffusion.samplers.ddpm import ddpm
from ldm_jax.diffusion.samplers.loop import normal_like, sample
from ldm_jax.types import Denoised

M, S = 0.7, 0.4
T = 1000
SCHEDULES = {
    "linear": discrete(betas.linear(T)),
    "scaled_linear": discrete(betas.scaled_linear(T)),
    "cosine": discrete(betas.cosine(T)),
}
PREDICTIONS = {"eps": prediction.eps, "v": prediction.v}
SAMPLERS = {"ddim": lambda eta: ddim(eta), "ddpm": lambda eta: ddpm()}
LINEAR = SCHEDULES["linear"]


def std(p, t):
    alpha, sigma = p.alpha_sigma(jnp.asarray(t))
    return jnp.sqrt(jnp.square(alpha * S) + jnp.square(sigma))


def expected_x0(p, z, t):
    """E[x_0 | z_t]."""
    alpha, sigma = alpha_sigma_like(p, t, z)
    variance = jnp.square(alpha * S) + jnp.square(sigma)
    return M + alpha * S**2 / variance * (z - alpha * M)


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


@partial(jax.jit, static_argnames=("sampler", "kind"))
def trajectory(p, grid, z, keys, eta=0.0, sampler="ddim", kind="v"):
    """Samples with a network that is right about the Gaussian."""
    kind = PREDICTIONS[kind]

    def network(z, steps):
        rates = alpha_sigma_like(p, steps + 1, z)
        x0 = expected_x0(p, z, steps + 1)
        return kind.target(x0, prediction.noise_of(x0, z, *rates), *rates)

    return sample(SAMPLERS[sampler](eta), denoiser(network, p, kind), p, grid, z, keys)


def padded(name, K):
    return spacing.pad(spacing.times(name, LINEAR, K), T)


def flow(p, z, t, s):
    """Where the probability flow takes z from time t to time s."""
    (alpha_t, _), (alpha_s, _) = p.alpha_sigma(jnp.asarray(t)), p.alpha_sigma(jnp.asarray(s))
    return alpha_s * M + std(p, s) / std(p, t) * (z - alpha_t * M)


@pytest.mark.parametrize(
    "table",
    [
        betas.linear(8 * T, 1e-4 / 8, 0.02 / 8),
        betas.scaled_linear(8 * T, 0.0015 / 8, 0.0195 / 8),
        betas.cosine(8 * T),
    ],
    ids=SCHEDULES,
)
def test_ddim_converges_to_the_probability_flow_at_order_one(table):
    p = discrete(table)  # fine, so that the step from time 1 to the data is a short one
    z = jnp.linspace(-2.0, 2.0, 9).reshape(1, 3, 3, 1)
    counts = np.array([100, 200, 400, 800])
    errors = []
    for K in counts:
        grid = spacing.pad(spacing.times("leading", p, K), p.T)
        exact = flow(p, z, grid[0], 0)
        errors.append(float(jnp.max(jnp.abs(trajectory(p, grid, z, keys(1)) - exact))))
    slope, _ = np.polyfit(np.log(counts), np.log(errors), 1)
    assert -1.15 < slope < -0.85, errors
    assert errors[-1] < 0.01


@pytest.mark.parametrize(("sampler", "eta"), [("ddpm", 0.0), ("ddim", 0.5), ("ddim", 1.0)])
def test_random_trajectories_arrive_at_the_target(sampler, eta):
    """Mean and variance of 16384 draws, each step of 250 with noise of its own."""
    z = jax.random.normal(jax.random.key(1), (16, 32, 32, 1))
    x = trajectory(LINEAR, padded("trailing", 250), z, keys(16), eta, sampler=sampler)
    n = x.size
    assert abs(jnp.mean(x) - M) < 4 * S / np.sqrt(n) + 0.004
    assert abs(jnp.std(x) / S - 1) < 4 / np.sqrt(2 * n) + 0.02


def test_ddim_with_eta_one_is_ddpm():
    z = jax.random.normal(jax.random.key(1), (4, 8, 8, 1))
    for name, K in (("uniform", 50), ("leading", 20), ("trailing", 10)):
        grid = padded(name, K)
        one = trajectory(LINEAR, grid, z, keys(4), 1.0)
        other = trajectory(LINEAR, grid, z, keys(4), sampler="ddpm")
        np.testing.assert_allclose(one, other, atol=2e-5)
        assert jnp.max(jnp.abs(one - trajectory(LINEAR, grid, z, keys(4), 0.9))) > 0.01


@pytest.mark.parametrize(("t", "s"), [(1000, 999), (1000, 500), (300, 299), (40, 10), (2, 1)])
@pytest.mark.parametrize("sampler", [ddpm(), ddim(1.0)], ids=["ddpm", "ddim"])
def test_a_step_draws_from_the_posterior(sampler, t, s):
    """q(z_s | z_t, x_0) by Bayes: the prior N(alpha_s x_0, sigma_s^2) times a likelihood."""
    alpha, sigma = (np.asarray(table, np.float64) for table in (LINEAR.alphas, LINEAR.sigmas))
    a = alpha[t] / alpha[s]
    b = sigma[t] ** 2 - (a * sigma[s]) ** 2
    precision = 1 / sigma[s] ** 2 + a**2 / b
    z = np.asarray(jax.random.normal(jax.random.key(1), (2, 4, 4, 1)), np.float64)
    mean = (alpha[s] * M / sigma[s] ** 2 + a * z / b) / precision

    def sure(z, t):
        return Denoised(jnp.full_like(z, M))

    at = (jnp.full(2, t), jnp.full(2, s))
    drawn, _ = sampler.step(sure, LINEAR, keys(2), jnp.asarray(z, jnp.float32), *at, ())
    noise = normal_like(keys(2), jnp.asarray(z, jnp.float32))
    np.testing.assert_allclose(drawn, mean + noise / np.sqrt(precision), atol=2e-5)


@pytest.mark.parametrize("eta", [0.0, 0.25, 0.5, 1.0])
def test_eta_scales_the_standard_deviation_of_the_posterior(eta):
    """And what is left of sigma_s goes along the noise (Song et al. 2021, eq. 12 and 16)."""
    t, s = jnp.full(2, 500), jnp.full(2, 300)
    z = jax.random.normal(jax.random.key(1), (2, 4, 4, 1))

    def sure(z, t):
        return Denoised(jnp.full_like(z, M))

    noise = normal_like(keys(2), z)
    still, _ = ddim(0.0).step(sure, LINEAR, keys(2), z, t, s, ())
    drawn, _ = ddim(eta).step(sure, LINEAR, keys(2), z, t, s, ())
    alpha, sigma = alpha_sigma_like(LINEAR, s, z)
    away = (still - alpha * M) / sigma  # the noise behind z
    a = LINEAR.alphas[500] / LINEAR.alphas[300]
    b = LINEAR.sigmas[500] ** 2 - (a * LINEAR.sigmas[300]) ** 2
    spread = eta / jnp.sqrt(1 / LINEAR.sigmas[300] ** 2 + a**2 / b)
    expected = alpha * M + jnp.sqrt(sigma**2 - spread**2) * away + spread * noise
    np.testing.assert_allclose(drawn, expected, atol=2e-5)


@pytest.mark.parametrize("sampler", [ddim(0.0), ddim(1.0), ddpm()], ids=["ddim", "eta1", "ddpm"])
def test_the_step_to_the_data_is_the_clean_data_itself(sampler):
    z = jax.random.normal(jax.random.key(1), (2, 4, 4, 1))
    at = (jnp.array([1, 700]), jnp.array([0, 0]))
    x, _ = sampler.step(lambda z, t: Denoised(jnp.sin(z)), LINEAR, keys(2), z, *at, ())
    np.testing.assert_allclose(x, jnp.sin(z), atol=1e-5)


@pytest.mark.parametrize(("sampler", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("ddpm", 0.0)])
def test_a_padded_grid_gives_the_same_numbers(sampler, eta):
    z = jax.random.normal(jax.random.key(1), (2, 4, 4, 1))
    grid = spacing.times("uniform", LINEAR, 10)
    one = trajectory(LINEAR, grid, z, keys(2), eta, sampler=sampler)
    other = trajectory(LINEAR, spacing.pad(grid, T), z, keys(2), eta, sampler=sampler)
    np.testing.assert_array_equal(one, other)


def test_the_denoiser_is_called_once_a_step_at_the_times_of_the_grid():
    asked = []

    def denoise(z, t):
        jax.debug.callback(lambda t: asked.append(t.tolist()), t, ordered=True)
        return Denoised(z)

    grid = spacing.times("trailing", LINEAR, 5)
    z = jnp.zeros((2, 1, 1, 1))
    sample(ddim(), denoise, LINEAR, spacing.pad(grid, 20), z, keys(2)).block_until_ready()
    jax.effects_barrier()
    assert asked == [[t, t] for t in (1000, 800, 600, 400, 200)]


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_an_example_does_not_depend_on_its_batch(eta):
    z = jax.random.normal(jax.random.key(1), (4, 4, 4, 1))
    together = trajectory(LINEAR, padded("leading", 10), z, keys(4), eta)
    alone = trajectory(LINEAR, padded("leading", 10), z[2:3], keys(4)[2:3], eta)
    np.testing.assert_allclose(together[2:3], alone, atol=1e-6)


def test_every_step_has_noise_of_its_own():
    """A denoiser of output 0 leaves a sum of independent noises; the same one would add up."""
    z = jnp.zeros((1, 64, 64, 1))
    first, second = (
        ddpm().step(
            lambda z, t: Denoised(0 * z), LINEAR, k, z, jnp.array([500]), jnp.array([400]), ()
        )
        for k in (keys(1), keys(1, seed=1))
    )
    assert abs(np.corrcoef(first[0].ravel(), second[0].ravel())[0, 1]) < 0.1
    seen = []

    def denoise(z, t):
        jax.debug.callback(lambda z: seen.append(z), z, ordered=True)
        return Denoised(0 * z)

    sample(
        ddpm(), denoise, LINEAR, jnp.array([1000, 999, 998, 997]), z, keys(1)
    ).block_until_ready()
    jax.effects_barrier()
    steps = np.diff([np.ravel(z) for z in seen], axis=0)
    assert abs(np.corrcoef(steps)[0, 1]) < 0.1


@pytest.mark.parametrize("grid", ["uniform", "leading", "trailing"])
@pytest.mark.parametrize("p", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize(("sampler", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("ddpm", 0.0)])
def test_every_combination_reaches_the_target_whatever_the_network_predicts(sampler, eta, p, grid):
    z = jax.random.normal(jax.random.key(1), (4, 8, 8, 1))
    ends = [
        trajectory(p, padded(grid, 25), z, keys(4), eta, sampler=sampler, kind=kind)
        for kind in PREDICTIONS
    ]
    for x in ends:
        assert np.isfinite(x).all()
        assert abs(jnp.mean(x) - M) < 0.1
        assert 0.25 < jnp.std(x) < 0.55
    np.testing.assert_allclose(*ends, atol=0.02)  # eps divides by alpha, 5e-5 at worst
