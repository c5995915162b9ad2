"""Images of a first stage that is a generative model by itself, as a request asks for them."""

import numpy as np

from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling import prior
from ldm_jax.sampling.drawing import Drawn
from ldm_jax.sampling.generate import in_batches
from ldm_jax.sampling.view import view
from ldm_jax.sections import Request
from ldm_jax.types import Array, Batch


def draw(trained: runs.TrainedFirstStage, request: Request) -> Drawn:
    """The images of a request."""
    run, images, rows = view(trained), request.images, request.rows.interpolate
    shape = run.latent_shape()
    z = request.latents.noise(request, run)
    if z is None and rows:
        z = prior.interpolated(images.seed, images.num // rows, rows, shape)
    elif z is None:
        z = prior.normal(images.seed + np.arange(images.num), shape)
    decode, mesh = prior.make_draw(trained.model), devices("jit")

    def one_batch(chosen: Batch, seeds: np.ndarray) -> Array:
        return decode(trained.params, mesh.split(chosen["z"]))

    seeds = np.arange(images.num)  # of no use: the latents are given
    found = in_batches(one_batch, {"z": np.asarray(z)}, seeds, images.batch_size)
    return Drawn(image_files.to_uint8(found))
