"""At which times a denoiser is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion.losses import training_times as times
from ldm_jax.diffusion.process import log_snr
from tests.support.every import PROCESSES, T, every_process

N = 20_000
KEYS = jax.random.split(jax.random.key(0), N)


@every_process
def test_uniform_times_are_uniform_and_never_those_of_data(p):
    t = np.asarray(times.uniform(KEYS, p))
    assert t.min() > 0
    assert t.max() <= T
    counts, _ = np.histogram(t, bins=10, range=(0, T))
    assert np.all(np.abs(counts - N / 10) < 5 * np.sqrt(N / 10))


def test_whole_times_are_equally_likely():
    p = PROCESSES["linear"]
    counts = np.bincount(times.whole(times.uniform(KEYS, p), p), minlength=T + 1)
    assert counts[0] == 0
    assert len(counts) == T + 1
    assert abs(counts[1:].std() / np.sqrt(N / T) - 1) < 0.15
    assert times.whole(jnp.array([1e-9, 1.0, 1.001, T - 0.5, T]), p).tolist() == [1, 1, 2, T, T]


@every_process
def test_cubic_times_are_those_of_one_minus_the_cube_of_a_uniform_number(p):
    """P(t / T <= x) = 1 - (1 - x)^(1/3), within the bound of Dvoretzky, Kiefer and Wolfowitz."""
    x = np.sort(np.asarray(times.cubic(KEYS, p)) / T)
    assert x[0] > 0
    assert x[-1] <= 1
    below = np.arange(1, N + 1) / N
    assert np.max(np.abs(below - (1 - np.cbrt(1 - x)))) < np.sqrt(np.log(2 / 1e-6) / (2 * N))


def test_whole_cubic_times_are_the_original_timesteps_and_one():
    """T2I-Adapter's timesteps floor((1 - u^3) T), at most T - 1, are those before ours."""
    p = PROCESSES["linear"]
    t = np.asarray(times.cubic(KEYS, p))
    original = np.minimum(np.floor(t), T - 1)
    np.testing.assert_array_equal(times.whole(t, p), original + 1)
    assert times.whole(jnp.array([float(T)]), p).tolist() == [T]  # u = 0


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.5, 0.6)])
def test_logit_normal_times_are_normal_after_a_logit(mean, std):
    u = np.asarray(times.logit_normal(KEYS, PROCESSES["rectified_flow"], mean, std)) / T
    logit = np.log(u / (1 - u))
    assert abs(logit.mean() - mean) < 5 * std / np.sqrt(N)
    assert abs(logit.std() / std - 1) < 5 / np.sqrt(2 * N)


@pytest.mark.parametrize("name", ["edm", "linear", "cosine", "rectified_flow", "cosine_flow"])
def test_log_normal_times_have_normal_log_noise(name):
    """As in EDM, whose mean is -1.2 and whose standard deviation is 1.2."""
    p = PROCESSES[name]
    sigma = -np.asarray(log_snr(p, times.log_normal(KEYS, p, -1.2, 1.2))) / 2
    assert abs(sigma.mean() + 1.2) < 0.05
    assert abs(sigma.std() / 1.2 - 1) < 0.03
