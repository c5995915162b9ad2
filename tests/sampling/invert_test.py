"""The noise behind an image, for latents whose every x0 is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.conditioning.compose import compose
from ldm_jax.diffusion import spacing
from ldm_jax.diffusion.prediction import noise_of, v
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.ddim import ddim
from ldm_jax.sampling.generate import make_generate
from ldm_jax.sampling.invert import make_invert
from ldm_jax.types import DiffusionModel, Gaussian
from tests.support import tiny
from tests.support.every import PROCESSES

M, S, SIDE, K = 0.2, 0.5, 4, 200  # latents ~ N(M, S^2)
IMAGES = np.random.default_rng(0).uniform(-0.9, 0.9, (2, SIDE, SIDE, 3)).astype(np.float32)
PARAMS = {"first_stage": {"shift": np.zeros(3), "scale": np.full(3, 2.0)}}
PARAMS |= {"denoiser": {}, "conditioner": {}}


def model(process) -> DiffusionModel:
    """Latents are twice the pixels, drawn from a wide posterior, whose mean is what counts."""

    def denoise(params, x, steps, cond):
        alpha, sigma = alpha_sigma_like(process, steps + 1 if process.discrete else steps, x)
        z = x / v.scale(alpha, sigma)
        x0 = M + alpha * S**2 / ((alpha * S) ** 2 + sigma**2) * (z - alpha * M)
        return v.target(x0, noise_of(x0, z, alpha, sigma), alpha, sigma)

    stage = tiny.first_stage(
        posterior=lambda params, images: Gaussian(images, jnp.zeros_like(images)),
        decode=lambda params, z: z / 2.0,
        channels=3,
    )
    return tiny.denoises(denoise, compose([]), stage, process, v)


@pytest.mark.parametrize("name", ["cosine", "rectified_flow"])
def test_it_is_where_the_flow_of_a_gaussian_goes_and_leads_back(name):
    process = PROCESSES[name]
    grid = spacing.pad(spacing.times("trailing", process, K), process.T)
    there = spacing.pad(spacing.times("trailing", process, K)[::-1], process.T)
    built = model(process)
    noise = np.asarray(make_invert(built)(PARAMS, {}, IMAGES, there))
    np.testing.assert_allclose(noise, (2.0 * IMAGES - M) / S, rtol=0.04, atol=0.04)
    seeds = np.arange(2, dtype=np.uint32)
    back = make_generate(built, ddim, SIDE)(PARAMS, {}, seeds, grid, 1.0, {"eta": 0.0}, noise)
    np.testing.assert_allclose(back, IMAGES, atol=0.04)  # both ways are of first order
