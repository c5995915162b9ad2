"""RePaint: a grid that goes back up."""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.guidance.blend import blend
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.ddpm import ddpm
from ldm_jax.diffusion.samplers.loop import sample
from ldm_jax.diffusion.samplers.repaint import repaint, resampled
from ldm_jax.types import Denoised
from tests.support.every import PROCESSES

P = PROCESSES["cosine_flow"]
DOWN = np.arange(10, -1, -1) * 100


def test_every_jump_is_taken_as_often_as_requested():
    assert resampled(DOWN, 5, 1).tolist() == DOWN.tolist()
    twice = resampled(DOWN, 5, 2).tolist()
    assert twice == [
        1000,
        900,
        800,
        700,
        600,
        500,
        400,
        300,
        200,
        100,
        0,
        500,
        400,
        300,
        200,
        100,
        0,
    ]
    grid = resampled(DOWN, 2, 3)
    assert np.sum(np.diff(grid) > 0) == 2 * 4
    assert (grid[0], grid[-1]) == (1000, 0)
    assert np.sum((grid[:-1] == 400) & (grid[1:] == 300)) == 3


def test_upwards_is_the_process_itself():
    """Data noised to one time and from there to another are as noised at once."""
    x0 = jnp.full((256, 4, 4, 1), 0.7)
    keys = jax.random.split(jax.random.key(0), 256)
    sampler = repaint(ddpm())
    z = x0
    for t, s in ((0, 300), (300, 800)):
        at = (jnp.full(256, t), jnp.full(256, s))
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, t)
        z, _ = sampler.step(lambda z, t: Denoised(0 * z), P, step_keys, z, *at, ())
    alpha, sigma = P.alpha_sigma(jnp.array(800))
    n = z.size
    assert abs(jnp.mean(z) - 0.7 * alpha) < 4 * sigma / np.sqrt(n)
    assert abs(jnp.std(z) / sigma - 1) < 4 / np.sqrt(2 * n)


def test_what_is_made_comes_to_fit_what_is_known():
    """Two places that are always equal, 0.7 + N(0, 0.4^2): one is known, the other to be found."""

    def denoise(z, t):
        alpha, sigma = alpha_sigma_like(P, t, z)
        mean = jnp.mean(z, axis=2, keepdims=True)  # of both, which halves the noise
        variance = jnp.square(alpha * 0.4) + jnp.square(sigma) / 2
        x0 = 0.7 + alpha * 0.16 / variance * (mean - alpha * 0.7)
        return Denoised(jnp.broadcast_to(x0, z.shape))

    N = 256
    known = 0.7 + 0.4 * jax.random.normal(jax.random.key(1), (N, 1, 1, 1)) * jnp.ones((N, 1, 2, 1))
    mask = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
    z, keys = (
        jax.random.normal(jax.random.key(2), known.shape),
        jax.random.split(jax.random.key(3), N),
    )
    misfit = []
    for resamples in (1, 4):
        grid = resampled(np.linspace(1000, 0, 21), 2, resamples)
        x = sample(repaint(ddpm()), blend(denoise, known, mask), P, grid, z, keys)
        np.testing.assert_allclose(x[:, 0, 0], known[:, 0, 0], atol=1e-5)
        misfit.append(float(jnp.mean(jnp.square(x - known))))
    assert misfit[1] < 0.5 * misfit[0], misfit
