"""What a denoiser expects on the way can be seen, and seeing it changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.config import Diffusion
from ldm_jax.diffusion.samplers.loop import Watch, sample
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.diffusion.spacing import pad
from ldm_jax.types import Denoised
from tests.support import tiny

PROCESS = Diffusion("cosine", steps=20).build_process()
TIMES = np.float32([20, 15, 11, 8, 4, 2, 0])
START = jax.random.normal(jax.random.key(0), (2, 2, 2, 1))


def denoise(z, t):
    """Expects the time, and a little of z."""
    return Denoised(t[:, None, None, None] + 0.01 * jnp.tanh(z))


@pytest.mark.parametrize("name", ["ddpm", "heun", "plms", "dpmpp_2s"])
def test_predictions_of_x0_are_those_at_the_beginning_of_the_steps(name):
    trajectory = (build_sampler(name)(), denoise, PROCESS)
    grid, watch = pad(TIMES, 20), Watch(every=2, count=3)
    z, seen = jax.jit(lambda: sample(*trajectory, grid, START, tiny.keys(2), watch))()
    assert seen.shape == (3, 2, 2, 2, 1)
    expected = np.broadcast_to(TIMES[1:6:2].reshape(3, 1, 1, 1, 1), seen.shape)
    np.testing.assert_allclose(seen, expected, atol=0.011)
    assert np.any(seen != expected)
    plain = jax.jit(lambda: sample(*trajectory, grid, START, tiny.keys(2)))()
    np.testing.assert_allclose(z, plain, rtol=1e-6)
