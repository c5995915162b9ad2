"""The noise behind an image (Song, Meng and Ermon 2021, section 4.3)."""

from collections.abc import Callable

import jax

from ldm_jax.autoencoders.latents import scaled
from ldm_jax.diffusion.denoiser import denoiser
from ldm_jax.diffusion.samplers.ddim_inversion import ddim_inversion
from ldm_jax.diffusion.samplers.loop import sample
from ldm_jax.types import Array, Batch, DiffusionModel, Params


def make_invert(model: DiffusionModel) -> Callable[..., Array]:
    """A compiled function (params, inputs, image, grid) -> noise [B, h, w, c], about standard
    normal, from which DDIM over the same times leads back to the image.

    Args of the function:
        inputs: what the conditioner reads of what the image shows, each [B, ...].
        image: [B, size, size, 3] in [-1, 1]; its latents are the mean of their posterior.
        grid: [K + 1] increasing times; the reverse of a sampling grid.
    """

    def invert(params: Params, inputs: Batch, image: Array, grid: Array) -> Array:
        cond = model.precompute(params, model.condition(params, inputs))

        def network(z, timestep):
            return model.denoise(params, z, timestep, cond)

        denoise = denoiser(network, model.process, model.prediction)
        mean = model.first_stage.posterior(params["first_stage"], image).mean
        x0 = scaled(params["first_stage"], mean)
        keys = jax.random.split(jax.random.key(0), len(x0))  # of which nothing is drawn
        z = sample(ddim_inversion(), denoise, model.process, grid, x0, keys)
        return z / model.process.initial_noise_std(grid[-1])

    return jax.jit(invert)
