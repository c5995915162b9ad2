"""Drawing what was asked for."""

import numpy as np

from ldm_jax import build, pictures, runs, sampling
from ldm_jax.data import transforms
from ldm_jax.diffusion.times import later, pad
from ldm_jax.pipelines import tiled
from ldm_jax.pipelines.generate import Told, in_batches, make_generate
from ldm_jax.request.condition import in_turn, inputs
from ldm_jax.request.given import latent_shape, load_image, load_latents
from ldm_jax.request.wanted import Request
from ldm_jax.sharding import devices
from ldm_jax.types import Array, Batch


def told_of(trained: runs.Trained, request: Request) -> tuple[Told, Batch]:
    """What a request says beside the condition: what holds for all, and what is each picture's.

    Returns:
        Told without its arrays of pictures, and these, each [num, ...], under their names.
    """
    each = {}
    if request.negative_prompts:
        each["negative"] = in_turn(trained, request.negative_prompts, request.num)
    for name, path in (("image", request.init_image), ("mask", request.mask)):
        if path:
            flag = "--mask" if name == "mask" else "--init-image"
            image = load_image(path, flag, trained)
            if name == "mask":  # 8-bit grey: made anew from middle grey on
                image = (np.mean(image, axis=-1, keepdims=True) >= 128).astype(np.float32)
            else:
                image = transforms.normalize(image)
            each[name] = np.repeat(image[None], request.num, axis=0)
    everywhere = Told(
        rescale=request.guidance_rescale,
        interval=request.guidance_interval or None,
        limit=request.threshold,
    )
    return everywhere, each


def draw(trained: runs.Trained, request: Request) -> np.ndarray:
    """The pictures of a request, uint8 [num, H, W, 3]."""
    model, size = trained.model, trained.experiment.data.image_size
    print(sampling.describe(request), flush=True)
    if request.tile:
        print(tiled.describe(model.first_stage, size, size, request.tile))
        model = model._replace(first_stage=tiled.tiled(model.first_stage, request.tile))
    generate = make_generate(model, build.build_sampler(request.sampler), size)
    times, options = sampling.grid(request, model.process), sampling.arguments(request)
    if request.init_image:
        times = later(times, request.strength)
    times = pad(times, model.process.T)
    spread = devices("jit")
    everywhere, each = told_of(trained, request)
    given = {**inputs(trained, request), **each}
    if request.latents:
        given["noise"] = load_latents(request.latents, latent_shape(trained, request.num))

    def one_batch(chosen: Batch, seeds: np.ndarray) -> Array:
        chosen, seeds = spread.split((chosen, seeds))
        noise = chosen.pop("noise", None)
        told = everywhere._replace(**{name: chosen.pop(name) for name in each})
        if told.negative is not None:
            told = told._replace(negative={"tokens": told.negative})
        return generate(
            trained.params, chosen, seeds, times, request.guidance, options, noise, told
        )

    seeds = request.seed + np.arange(request.num)
    return pictures.to_uint8(in_batches(one_batch, given, seeds, request.batch_size))
