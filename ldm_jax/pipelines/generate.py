"""Pictures from a latent diffusion model: unconditional, by class or by caption."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.denoiser import denoiser
from ldm_jax.diffusion.guidance.classifier_free import classifier_free
from ldm_jax.diffusion.guidance.scale import constant
from ldm_jax.diffusion.samplers.loop import normal_like, sample
from ldm_jax.types import Array, Batch, LatentDiffusion, Params, Sampler


def make_generate(
    model: LatentDiffusion, sampler: Callable[..., Sampler], size: int
) -> Callable[..., Array]:
    """A compiled function (params, inputs, seeds, grid, guidance, options, noise) -> images.

    Nothing but the number of examples and the form of the grid is compiled in.

    Args:
        model: the model whose params the function takes.
        sampler: options -> Sampler, such as those of `diffusion.samplers.names`.
        size: pixels a side of the images.
    """
    side = size // model.first_stage.factor

    def generate(
        params: Params,
        inputs: Batch,
        seeds: Array,
        grid: Array,
        guidance: Array,
        options: dict[str, Any],
        noise: Array | None = None,
    ) -> Array:
        """Images [B, size, size, 3] in [-1, 1].

        Args:
            inputs: what the conditioner reads, each [B, ...].
            seeds: [B] uint32; each image depends on its own seed alone.
            grid: [K + 1] times, see `diffusion.times`.
            guidance: scalar.
            options: scalars (or tuples of them) by name, for the sampler.
            noise: [B, h, w, c] to start from, standard normal; None: from the seeds.
        """
        keys = jax.vmap(jax.random.key)(seeds)
        start_keys, walk_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        shape = (len(seeds), side, side, model.first_stage.channels)
        if noise is None:
            noise = normal_like(start_keys, jnp.zeros(shape))

        def denoise(inputs):
            cond = model.conditioner.apply(params["conditioner"], inputs)

            def network(z, steps):
                return model.denoiser(params["denoiser"], z, steps, cond)

            return denoiser(network, model.process, model.prediction)

        guided = denoise(inputs)
        if model.conditioner.keys:
            untold = denoise(model.conditioner.null(len(seeds)))
            guided = classifier_free(guided, untold, constant(guidance))
        z = model.process.prior_std(grid[0]) * noise
        z = sample(sampler(**options), guided, model.process, grid, z, walk_keys)
        return jnp.clip(model.first_stage.decode(params["first_stage"], z), -1.0, 1.0)

    return jax.jit(generate)


def in_batches(
    generate: Callable[[Batch, np.ndarray], Array], inputs: Batch, seeds: Sequence[int], size: int
) -> np.ndarray:
    """Runs `generate` over any number of examples, always on `size` of them at a time.

    Args:
        generate: (inputs, seeds) -> images, such as a bound `make_generate`.
        inputs: each [N, ...].
        seeds: [N].

    Returns:
        Images [N, H, W, 3]. The last batch is filled up by repeating its last example.
    """
    N = len(seeds)
    done = []
    for start in range(0, N, size):
        rows = np.minimum(np.arange(start, start + size), N - 1)
        chosen = {name: np.asarray(x)[rows] for name, x in inputs.items()}
        images = generate(chosen, np.asarray(seeds, np.uint32)[rows])
        done.append(np.asarray(images)[: min(size, N - start)])
    return np.concatenate(done)
