"""Drawing what was asked for."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ldm_jax import runs
from ldm_jax.data import image_files, transforms
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.diffusion.samplers.repaint import repaint
from ldm_jax.diffusion.spacing import pad
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling import tiled
from ldm_jax.sampling.captions import captions, describe_captions, with_captions
from ldm_jax.sampling.classifier import check_latents
from ldm_jax.sampling.condition import classes, inputs, of_source
from ldm_jax.sampling.finishing import describe_finishing, finish
from ldm_jax.sampling.frames import describe_frames, legs, seeds
from ldm_jax.sampling.generate import Extras, each_batch, in_batches, make_generate
from ldm_jax.sampling.given import image_size, latent_shape, load_image, load_latents
from ldm_jax.sampling.invert import make_invert
from ldm_jax.sampling.patchwise import patchwise
from ldm_jax.sampling.shown import describe_shown, load_shown
from ldm_jax.sampling.start import times_of
from ldm_jax.sampling.task import is_pasted, paste, tell
from ldm_jax.sampling.wanted import Drawn, Request
from ldm_jax.types import Array, Batch, Sampler

NEGATIVE = "negative "  # before the names of what is to be stayed away from
TO = "to "  # before the names of what a walk between prompts leads to


def told_of(trained: runs.Trained, request: Request) -> tuple[Extras, Batch]:
    """What a request says beside the condition: what holds for all, and what is each image's.

    Returns:
        Extras without its arrays of images, and these, each [num, ...], under their names.
    """
    each = {}
    if request.negative_prompts:
        told = captions(trained, request, request.negative_prompts)
        each |= {f"{NEGATIVE}{name}": x for name, x in told.items()}
    if request.classifier:
        each["classes"] = classes(request)
    blended = not is_pasted(trained)  # or else the conditioner is told of image and mask
    if request.init_image and not request.invert and blended:
        each["image"] = _image(trained, request)
    if request.mask and blended:  # 8-bit grey: made anew from middle grey on
        mask = load_image(request.mask, "--mask", trained, request.size)
        mask = np.mean(mask, axis=-1, keepdims=True)
        each["mask"] = np.repeat((mask >= 128).astype(np.float32)[None], request.num, axis=0)
    if request.to_prompts:
        prompts = (*(request.prompts or ("",)), *request.to_prompts)
        leg, each["fraction"] = legs(request, request.to_prompts)
        told = captions(trained, request, prompts, leg + 1)
        each |= {f"{TO}{name}": x for name, x in told.items()}
    if request.to_seeds:
        leg, each["seed_fraction"] = legs(request, request.to_seeds)
        each["to_seeds"] = np.asarray(request.to_seeds, np.uint32)[leg]
    everywhere = Extras(
        rescale=request.guidance_rescale,
        interval=request.guidance_interval or None,
        limit=request.threshold,
        weights=np.asarray(request.compose_weights, np.float32) if request.compose else None,
        classifier_scale=request.classifier_scale,
    )
    return everywhere, each


def _image(trained: runs.Trained, request: Request) -> np.ndarray:
    image = load_image(request.init_image, "--init-image", trained, request.size)
    image = transforms.normalize(image)
    return np.repeat(image[None], request.num, axis=0)


def describe(request: Request, trained: runs.Trained) -> str:
    """One line that says what is used."""
    said = [sampling.describe(request), *describe_captions(trained, request)]
    if request.guidance_schedule != "constant":
        said.append(f"guidance {request.guidance_schedule} in time")
    if request.frames:
        said.append(describe_frames(request))
    if request.compose:
        pairs = zip(request.compose, request.compose_weights, strict=True)
        said.append("composed of " + ", ".join(f"'{text}' times {w:g}" for text, w in pairs))
    if request.classifier:
        said.append(f"classifier {request.classifier}, scale {request.classifier_scale:g}")
    if request.resample:
        K = len(times_of(request, trained)) - 1
        said.append(
            f"RePaint, {request.jump_length} steps at a time, each {request.resample} times: {K} "
            "in all"
        )
    said += describe_shown(request)
    said += describe_finishing(request)
    said += [f"weights of {request.param_dtype}"] if request.param_dtype else []
    if request.invert:
        of = f"'{request.source}'" if request.source is not None else "no condition"
        said.append(f"from the noise behind {request.init_image} (DDIM inversion, {of})")
    return "; ".join(said)


def draw(trained: runs.Trained, request: Request) -> Drawn:
    """The images of a request.

    Raises:
        InputError: a classifier that has learned on other latents.
    """
    one_batch, given = _prepared(trained, request)
    each = zip(*_walk(trained, request, one_batch, given), strict=True)
    images, *previews = map(np.concatenate, each)
    noise = given["noise"] if request.invert else None
    return Drawn(finish(images, request), noise, previews[0] if previews else None)


def draw_in_turn(
    trained: runs.Trained,
    request: Request,
    start: int = 0,
    generate: Callable[..., Array] | None = None,
) -> Iterator[np.ndarray]:
    """The same batch by batch from image `start` on, uint8 [batch_size or less, H, W, 3].

    Args:
        start: a multiple of the request's batch size.
        generate: what `compiled` made for a request that differs in numbers alone.
    """
    for images, *_ in _walk(trained, request, *_prepared(trained, request, generate), start):
        yield images


def compiled(trained: runs.Trained, request: Request) -> Callable[..., Array]:
    """What draws the batches of a plain request, of one sampler at any steps, guidance and eta."""
    size = image_size(trained, request.size)
    return make_generate(trained.model, _sampler(request), size, schedule=request.guidance_schedule)


def _walk(
    trained: runs.Trained, request: Request, one_batch: Callable, given: Batch, start: int = 0
) -> Iterator[tuple[np.ndarray, ...]]:
    """Images batch by batch, and what was previewed of them, if anything was."""
    for found in each_batch(one_batch, given, seeds(request), request.batch_size, start):
        images, *previews = found if isinstance(found, tuple) else (found,)
        end = start + len(images)
        if is_pasted(trained):
            told = {name: np.asarray(given[name])[start:end] for name in ("image", "mask")}
            images = paste(images, told)
        yield image_files.to_uint8(images), *previews
        start = end


def _prepared(
    trained: runs.Trained, request: Request, generate: Callable[..., Array] | None = None
) -> tuple[Callable[[Batch, np.ndarray], Array], Batch]:
    """What draws one batch of given seeds, and what it is given of every image, [num, ...]."""
    model, size = with_captions(trained, request), image_size(trained, request.size)
    params, judge = trained.params, None
    if request.classifier:
        found = runs.with_weights(runs.describe_classifier(Path(request.classifier)))
        check_latents(request.classifier, found.params["first_stage"], params["first_stage"])
        params, judge = {**params, "classifier": found.params["classifier"]}, found.model
    print(describe(request, trained), flush=True)
    if request.tile:
        print(tiled.describe(model.first_stage, *size, request.tile))
        model = model._replace(first_stage=tiled.tiled(model.first_stage, request.tile))
    if request.patch:
        model = patchwise(model, request.patch)
    sampler, options = _sampler(request), sampling.arguments(request)
    times = times_of(request, trained)
    shown, more = load_shown(trained, request, len(times) - 1)
    params = {**params, **more}
    schedule = request.guidance_schedule
    generate = generate or make_generate(model, sampler, size, judge, schedule, shown)
    T = model.process.T
    times = pad(times, T * math.ceil((len(times) - 1) / T))
    spread = devices("jit")
    everywhere, each = told_of(trained, request)
    given = {**inputs(trained, request), **(tell(trained, request) or {}), **each}
    if request.latents:
        shape = latent_shape(trained, request.num, request.size)
        given["noise"] = load_latents(request.latents, shape, request.turn)
    if request.invert:
        given["noise"] = _noise_behind(trained, request)

    def one_batch(chosen: Batch, seeds: np.ndarray) -> Array:
        chosen, seeds = spread.split((chosen, seeds))
        noise = chosen.pop("noise", None)
        own = {name: chosen.pop(name) for name in each}
        negative, to = (
            {n.removeprefix(mark): own.pop(n) for n in each if n.startswith(mark)} or None
            for mark in (NEGATIVE, TO)
        )
        told = everywhere._replace(**own, negative=negative, to=to)
        with spread.in_force():
            return generate(params, chosen, seeds, times, request.guidance, options, noise, told)

    return one_batch, given


def _sampler(request: Request) -> Callable[..., Sampler]:
    make = build_sampler(request.sampler)
    if not request.resample:
        return make
    return lambda **options: repaint(make(**options))


def _noise_behind(trained: runs.Trained, request: Request) -> np.ndarray:
    """The noise that leads to the request's image, [num, h, w, c] float32."""
    invert, spread = make_invert(with_captions(trained, request)), devices("jit")
    times = pad(times_of(request, trained)[::-1], trained.model.process.T)
    beside = tell(trained, request) or {}
    given = {**of_source(trained, request), **beside, "image": _image(trained, request)}

    def one_batch(chosen: Batch, _: np.ndarray) -> Array:
        chosen = spread.split(chosen)
        with spread.in_force():
            return invert(trained.params, chosen, chosen.pop("image"), times)

    return in_batches(one_batch, given, np.arange(request.num), request.batch_size)
