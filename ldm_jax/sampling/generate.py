"""Images from a latent diffusion model: unconditional, by class or by caption."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.autoencoders.latents import scaled
from ldm_jax.diffusion.denoiser import denoiser
from ldm_jax.diffusion.guidance.blend import blend
from ldm_jax.diffusion.guidance.classifier_free import classifier_free, composition, rescale
from ldm_jax.diffusion.guidance.joint import Outputs, joint
from ldm_jax.diffusion.guidance.scale import SCHEDULES, interval
from ldm_jax.diffusion.guidance.threshold import clipped, threshold
from ldm_jax.diffusion.process import add_noise
from ldm_jax.diffusion.samplers.loop import Watch, normal_like, sample
from ldm_jax.sampling.interpolation import between, slerp
from ldm_jax.types import (
    Array,
    Batch,
    Cond,
    Denoise,
    DiffusionModel,
    FirstStage,
    Params,
    Sampler,
)


class Extras(NamedTuple):
    """What else images may be made from; None is not used, and costs nothing.

    negative: what the conditioner reads of negative prompts, each [B, ...]
    rescale:  scalar, see `guidance.rescale`
    interval: two scalars, the noise levels between which there is guidance
    limit:    scalar, of the latents, see `guidance.threshold`
    image:    [B, size, size, 3] to start from, noised to the first time of the grid
    mask:     [B, size, size, 1], 1 where `image` is inpainted, 0 where it stays
    weights:  [n], how much each of n conditions counts that are composed, times the guidance; the
              inputs are then [B, n, ...]
    to:       what the conditioner reads at the end of an interpolation, each [B, ...]
    fraction: [B] of that interpolation, 0 (the inputs) to 1
    to_seeds: [B] uint32, of the noise at the end of an interpolation from that of the seeds
    seed_fraction: [B] of that
    noise_scale: scalar, times the noise that sampling starts from
    guides:   what the guides read, each [B, ...]
    """

    negative: Batch | None = None
    rescale: Array | None = None
    interval: tuple[Array, Array] | None = None
    limit: Array | None = None
    image: Array | None = None
    mask: Array | None = None
    weights: Array | None = None
    to: Batch | None = None
    fraction: Array | None = None
    to_seeds: Array | None = None
    seed_fraction: Array | None = None
    noise_scale: Array | None = None
    guides: Batch | None = None


NO_EXTRAS = Extras()
# (denoise, params, `Extras.guides`, sampler) -> denoise, which a section of the request makes
Guide = Callable[[Denoise, Params, Batch, Sampler], Denoise]


class Shown(NamedTuple):
    """How latents become images, where not by the model's own decoder alone.

    decoder: of params["decoder"], in place of it
    preview: of params["preview"], for what is expected on the way
    watch:   at which steps that is
    """

    decoder: FirstStage | None = None
    preview: FirstStage | None = None
    watch: Watch | None = None


OWN = Shown()


def make_generate(
    model: DiffusionModel,
    sampler: Callable[..., Sampler],
    size: int | tuple[int, int],
    schedule: str = "constant",
    shown: Shown = OWN,
    guides: Sequence[Guide] = (),
) -> Callable[..., Any]:
    """A compiled (params, inputs, seeds, grid, guidance, options, noise, extras) -> images.

    Images are [B, height, width, 3] in [-1, 1]; with previews it gives (images, previews uint8 [B,
    count, height, width, 3]). Only the number of examples, the form of the grid and which extras
    are used are compiled in. Of the function: inputs are what the conditioner reads, each [B, ...];
    seeds [B] uint32, on which alone each image depends; grid [K + 1] times (`diffusion.spacing`);
    guidance a scalar; options scalars by name, for the sampler; noise [B, h, w, c], standard
    normal, None: from the seeds; extras see `Extras`.

    Args:
        model: the model whose params the function takes.
        sampler: options -> Sampler, such as those of `diffusion.samplers.names`.
        size: pixels a side of the images, or their height and width.
        schedule: of the guidance over time, one of `guidance.scale.SCHEDULES`.
        shown: how latents become images.
        guides: that guide beside the condition, one after the other.
    """
    begin = beginning(model, sampler, size, schedule, guides)

    def generate(params, inputs, seeds, grid, guidance, options, noise=None, extras=NO_EXTRAS):
        solver, guided, z, keys = begin(
            params, inputs, seeds, grid, guidance, options, noise, extras
        )
        found = sample(solver, guided, model.process, grid, z, keys, shown.watch)
        z, watched = found if shown.watch else (found, None)
        images = decoded(model, shown, params, z, extras)
        return images if watched is None else (images, _previewed(shown, params, watched))

    return jax.jit(generate)


class Begun(NamedTuple):
    """What a trajectory starts with.

    z:    [B, h, w, c] at the first time
    keys: [B] of its steps
    """

    solver: Sampler
    denoise: Denoise
    z: Array
    keys: Array


def beginning(
    model: DiffusionModel,
    sampler: Callable[..., Sampler],
    size: int | tuple[int, int],
    schedule: str,
    guides: Sequence[Guide],
) -> Callable[..., Begun]:
    """What `make_generate` does before the first step, a function of the same arguments."""
    height, width = (size, size) if isinstance(size, int) else size
    f = model.first_stage.factor

    def begin(params, inputs, seeds, grid, guidance, options, noise, extras):
        keys = jax.vmap(jax.random.key)(seeds)
        start_keys, step_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        shape = (len(seeds), height // f, width // f, model.first_stage.channels)
        noise = _noise(noise, start_keys, shape, extras)
        guided = _towards_condition(model, params, inputs, shape[:3], guidance, extras, schedule)
        solver = sampler(**options)
        for guide in guides:
            guided = guide(guided, params, extras.guides, solver)
        if extras.limit is not None:
            guided = threshold(guided, extras.limit)
        z = model.process.initial_noise_std(grid[0]) * noise
        if extras.image is not None:
            encode_keys = jax.vmap(jax.random.fold_in, (0, None))(start_keys, 1)
            x0 = model.first_stage.encode(params["first_stage"], extras.image, encode_keys)
            z = add_noise(model.process, x0, noise, jnp.full(len(seeds), grid[0]))
            if extras.mask is not None:
                guided = blend(guided, x0, for_latents(extras.mask, model.first_stage.factor))
        return Begun(solver, _within_data(model, params, inputs, guided), z, step_keys)

    return begin


def _within_data(model: DiffusionModel, params: Params, inputs: Batch, denoise: Denoise) -> Denoise:
    """The denoiser whose x0 is what the condition knows of it, and where data can be."""
    conditioner, stage = model.conditioner, params["first_stage"]
    if conditioner.known:
        own = conditioner.encode(stage, inputs) if conditioner.encode else inputs
        denoise = blend(denoise, *conditioner.known(own))
    limit = model.first_stage.limit
    if limit is None:
        return denoise
    ends = jnp.float32(-limit), jnp.float32(limit)
    if model.first_stage.images:
        ends = tuple(scaled(stage, end) for end in ends)
    return clipped(denoise, *ends)


def _noise(noise: Array | None, keys: Array, shape: tuple[int, ...], extras: Extras) -> Array:
    """The noise [B, h, w, c] that sampling starts from: given, or of the keys [B], on its way to
    that of other seeds, and scaled."""
    noise = normal_like(keys, jnp.zeros(shape)) if noise is None else noise
    if extras.to_seeds is not None:
        ends = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed))[0])(extras.to_seeds)
        noise = slerp(noise, normal_like(ends, noise), extras.seed_fraction)
    return noise if extras.noise_scale is None else extras.noise_scale * noise


def decoded(model: DiffusionModel, shown: Shown, params: Params, z: Array, extras: Extras) -> Array:
    """Latents as images [B, H, W, 3] in [-1, 1]; where there is a mask, inside it alone.

    Of a first stage without images: as its embeddings [B, d].
    """
    if not model.first_stage.images:
        return model.first_stage.decode(params["first_stage"], z)[:, 0, 0]
    if shown.decoder:
        images = shown.decoder.decode(params["decoder"], z)
    else:
        images = model.first_stage.decode(params["first_stage"], z)
    images = jnp.clip(images, -1.0, 1.0)
    if extras.mask is None:
        return images
    return extras.mask * images + (1.0 - extras.mask) * extras.image


def _previewed(shown: Shown, params: Params, watched: Array) -> Array:
    """Latents [count, B, h, w, c] -> uint8 [B, count, H, W, 3], one of the count at a time."""

    def one(z):
        images = jnp.clip(shown.preview.decode(params["preview"], z), -1.0, 1.0)
        return jnp.round((images + 1.0) * 127.5).astype(jnp.uint8)

    return jnp.moveaxis(jax.lax.map(one, watched), 0, 1)


def _towards_condition(
    model: DiffusionModel,
    params: Params,
    inputs: Batch,
    places: tuple[int, int, int],
    guidance: Array,
    extras: Extras,
    schedule: str,
) -> Denoise:
    """The denoiser under the inputs, guided from the null (of [B, h, w]) to them."""

    def condition(inputs: Batch) -> Cond:
        return model.condition(params, inputs)

    def network(z, timestep, cond):
        return model.denoise(params, z, timestep, cond)

    def alone(cond: Cond) -> Denoise:
        return denoiser(functools.partial(network, cond=cond), model.process, model.prediction)

    def outputs(*conds: Cond) -> Outputs:
        return joint(network, conds, model.process, model.prediction)

    def precomputed(cond: Cond) -> Cond:  # what is the same at every step is computed once
        return model.precompute(params, cond)

    if not model.conditioner.keys:
        return alone(condition(inputs))
    null = {**model.conditioner.null(*places), **(extras.negative or {})}
    if extras.weights is not None:
        composed = [
            {name: inputs[name][:, i] for name in model.conditioner.droppable}
            for i in range(len(extras.weights))
        ]
        conds = [condition(model.conditioner.with_null(inputs, one)) for one in (null, *composed)]
        return composition(outputs(*map(precomputed, conds)), guidance * extras.weights)
    scale, adjust = SCHEDULES[schedule](guidance, model.process), None
    if extras.interval is not None:
        scale = interval(scale, model.process, *extras.interval)
    if extras.rescale is not None:
        adjust = rescale(extras.rescale, model.process, model.prediction)
    towards, away = condition(inputs), condition(model.conditioner.with_null(inputs, null))
    if extras.to is not None:
        towards = between(towards, condition({**inputs, **extras.to}), extras.fraction)
    towards, away = precomputed(towards), precomputed(away)
    return classifier_free(alone(towards), outputs(away, towards), scale, adjust)


def for_latents(mask: Array, factor: int) -> Array:
    """[B, H, W, 1] -> [B, h, w, 1]: a latent is inpainted where any of its pixels is."""
    B, H, W, _ = mask.shape
    blocks = mask.reshape(B, H // factor, factor, W // factor, factor, 1)
    return jnp.max(blocks, axis=(2, 4))


AT_ONCE = 16  # images, where nothing is said


def at_once(num: int) -> int:
    """How many of `num` images are drawn at once: all, or AT_ONCE of them.

    Few are filled up to a power of two, so that not every number of them is compiled again, and all
    to a multiple of the number of devices.
    """
    few = 2 ** (max(num, 1) - 1).bit_length()
    count = jax.device_count()
    return math.ceil(min(few, AT_ONCE) / count) * count


def each_batch(
    generate: Callable[[Batch, np.ndarray], Array],
    inputs: Batch,
    seeds: Sequence[int],
    size: int,
    start: int = 0,
) -> Iterator[np.ndarray]:
    """Runs `generate` over any number of examples, always on `size` of them at a time.

    Args:
        generate: (inputs, seeds) -> images, such as a bound `make_generate`, or several arrays.
        inputs: each [N, ...].
        seeds: [N].
        start: the first example that is wanted, a multiple of `size`.

    Yields:
        Images [size, H, W, 3], or what else `generate` gives, each [size, ...]. The last batch is
        filled up by repeating its last example, and these are left out.

    Raises:
        FloatingPointError: an image that is not finite.
    """
    N = len(seeds)
    for first in range(start, N, size):
        rows = np.minimum(np.arange(first, first + size), N - 1)
        chosen = {name: np.asarray(x)[rows] for name, x in inputs.items()}
        found, count = generate(chosen, np.asarray(seeds, np.uint32)[rows]), min(size, N - first)
        found = jax.tree.map(lambda x, count=count: np.asarray(x)[:count], found)
        for x in jax.tree.leaves(found):
            bad = first + np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
            if len(bad):
                raise FloatingPointError(
                    f"image {bad[0]}, of seed {seeds[bad[0]]}, is not finite ({len(bad)} of "
                    f"{count} so): expected weights that are finite, and settings for which they "
                    "were trained, such as less --guidance or another --sampler"
                )
        yield found


def in_batches(
    generate: Callable[[Batch, np.ndarray], Array], inputs: Batch, seeds: Sequence[int], size: int
) -> np.ndarray:
    """What `each_batch` yields as one, [N, H, W, 3]."""
    return np.concatenate(list(each_batch(generate, inputs, seeds, size)))
