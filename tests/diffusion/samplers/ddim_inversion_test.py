"""DDIM inversion: to the noise that DDIM turns into the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import spacing
from ldm_jax.diffusion.samplers.ddim import ddim
from ldm_jax.diffusion.samplers.ddim_inversion import ddim_inversion
from ldm_jax.diffusion.samplers.loop import sample
from tests.diffusion.samplers import exact
from tests.support.every import PROCESSES, T

KEYS = exact.keys(1)
K = 200


@jax.jit
def there_and_back(number, up, down, x):
    """The noise of x, and DDIM's sample from it."""
    process = exact.Chosen(number)
    denoise = exact.GAUSSIAN.denoiser(process)
    z = sample(ddim_inversion(), denoise, process, up, x, KEYS)
    return z, sample(ddim(), denoise, process, down, z, KEYS)


@pytest.mark.parametrize("name", PROCESSES)
def test_inversion_and_then_ddim_return_to_the_start(name):
    """The better the more steps, at order one."""
    p, x = PROCESSES[name], 0.7 + 0.4 * jax.random.normal(jax.random.key(1), (1, 4, 4, 1))
    away = []
    for steps in (K // 4, K // 2, K):
        down = spacing.times("trailing", p, steps)
        padded = (spacing.pad(grid, K) for grid in (down[::-1], down))
        _, back = there_and_back(list(PROCESSES).index(name), *padded, x)
        away.append(float(jnp.abs(back - x).max()))
    assert away[2] < 0.2, away
    assert away[2] < 0.7 * away[1] < 0.7 * 0.7 * away[0], away


@pytest.mark.parametrize("name", PROCESSES)
def test_it_is_finite_from_the_data_to_pure_noise(name):
    x = jax.random.normal(jax.random.key(1), (1, 4, 4, 1))
    for grid in ([0, 1, 500, T], [0, T], [0.5, T - 0.5]):
        up = spacing.pad(np.array(grid, np.float32), K)
        z, _ = there_and_back(list(PROCESSES).index(name), up, up, x)
        assert np.isfinite(z).all(), grid


def test_data_are_carried_to_their_quantile_of_the_noise():
    """As the probability flow does, so data drawn from a mixture become standard normal."""
    p = PROCESSES["rectified_flow"]
    rng = np.random.default_rng(0)
    part = rng.choice(2, 1024, p=exact.MIXTURE.weights)
    x = rng.normal(np.take(exact.MIXTURE.means, part), np.take(exact.MIXTURE.stds, part))
    x = jnp.asarray(x.reshape(1, 32, 32, 1), jnp.float32)
    denoise, grid = exact.MIXTURE.denoiser(p), spacing.times("trailing", p, K)[::-1]
    z = jax.jit(lambda x: sample(ddim_inversion(), denoise, p, grid, x, KEYS))(x)
    exactly = exact.MIXTURE.flow(np.asarray(x), (1.0, 0.0), (0.0, 1.0))
    assert np.abs(z - exactly).mean() < 0.03
    assert abs(float(jnp.std(z)) - 1) < 0.1
