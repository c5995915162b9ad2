"""Drawing what was asked for."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import SAMPLERS
from ldm_jax.diffusion.spacing import pad
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling.generate import Extras, each_batch, in_batches, make_generate
from ldm_jax.sampling.invert import make_invert
from ldm_jax.sampling.sampler import settings, times_of
from ldm_jax.sampling.stepwise import make_stepwise
from ldm_jax.sampling.view import view
from ldm_jax.sections import Request, RunView, seeds
from ldm_jax.settings import check_within
from ldm_jax.types import Array, Batch, DiffusionModel, Sampler


class Drawn(NamedTuple):
    """The images of a request.

    images:  uint8 [num, H, W, 3]
    latents: [num, h, w, c] the noise that was found behind an image, if that was asked for
    previews: uint8 [num, count, H, W, 3] on the way, if these were asked for
    """

    images: np.ndarray
    latents: np.ndarray | None = None
    previews: np.ndarray | None = None


def describe(request: Request, run: RunView) -> str:
    """One line that says what is used."""
    lines = [line for section in request for line in section.describe(request, run)]
    return "; ".join([sampling.describe(settings(request)), *lines])


def inputs_of(request: Request, run: RunView) -> Batch:
    """What the conditioner reads of a request, each [num, ...]."""
    return merged(section.inputs(request, run) for section in request)


def draw(trained: runs.Trained, request: Request, make: Callable[..., Any] | None = None) -> Drawn:
    """The images of a request.

    Args:
        make: what gives again what `make_generate` made for the same arguments; None: nothing.

    Raises:
        InputError: a classifier that was trained on other latents.
    """
    batches, noise = _drawn(trained, request, make=make)
    images, *previews = map(np.concatenate, zip(*batches, strict=True))
    images = request.finishing.apply(images, request.images.batch_size)
    return Drawn(images, noise, previews[0] if previews else None)


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
    for images, *_ in _drawn(trained, request, start, generate)[0]:
        yield images


def compiled(trained: runs.Trained, request: Request) -> Callable[..., Array]:
    """What draws the batches of a plain request, of one sampler at any steps, guidance and eta."""
    size, schedule = view(trained).size(request.size.size), request.guidance.guidance_schedule
    return make_generate(trained.model, _solver(request), size, schedule=schedule)


def draw_stepwise(
    trained: runs.Trained, request: Request, every: int, make: Callable[..., Any] = make_stepwise
) -> Iterator[tuple[int, np.ndarray]]:
    """The images of one batch on the way: the steps taken, and uint8 [num, H, W, 3] of the
    predicted x0, each `every` steps; with the last step the images themselves.

    Args:
        make: `make_stepwise`, or what gives again what it made for the same arguments.

    Raises:
        InputError: more images than are drawn at once, or `every` out of its range.
    """
    num, batch_size = request.images.num, request.images.batch_size
    K = len(times_of(request, view(trained))) - 1
    check_within(num, "num", 1, batch_size, "batch_size, the images that are drawn at once")
    check_within(every, "preview_every", 1, K, "the steps that are taken")
    one_batch, inputs, _ = _prepared(trained, request, make)
    rows, mesh = np.minimum(np.arange(batch_size), num - 1), devices("jit")
    given = {name: np.asarray(x)[rows] for name, x in inputs.items()}
    trajectory = one_batch(given, seeds(request)[rows].astype(np.uint32))
    for first in range(0, K, every):
        last = min(first + every, K)
        with mesh.in_force():
            trajectory.advance(first, last)
            found = trajectory.preview() if last < K else None
        if found is not None:
            yield last, image_files.to_uint8(np.asarray(found)[:num])

    def end(*_: Any) -> Array:
        return trajectory.finish()

    (images,) = next(_batches(end, inputs, request, 0))
    yield K, request.finishing.apply(images, batch_size)


def _drawn(
    trained: runs.Trained,
    request: Request,
    start: int = 0,
    generate: Callable[..., Array] | None = None,
    make: Callable[..., Any] | None = None,
) -> tuple[Iterator[tuple[np.ndarray, ...]], np.ndarray | None]:
    """Images batch by batch, with what was previewed of them, and the noise behind an image."""
    make = (lambda *_: generate) if generate else (make or make_generate)
    one_batch, inputs, inverted = _prepared(trained, request, make)
    return _batches(one_batch, inputs, request, start), inverted


def _prepared(
    trained: runs.Trained, request: Request, make: Callable[..., Any]
) -> tuple[Callable[[Batch, np.ndarray], Any], Batch, np.ndarray | None]:
    """What draws a batch of inputs and seeds by what `make` gives, the inputs of all images, and
    the noise behind an image."""
    run, params = view(trained), trained.params
    print(describe(request, run), flush=True)
    reading = _wrapped(trained.model, request, run, run.sections)
    model = _wrapped(reading, request, run, {type(s) for s in request} - set(run.sections))
    shown, decoders = request.decoding.load(request, run, params["first_stage"])
    guides = [section.guide(request, run, params) for section in request]
    params = {**params, **decoders, **merged(own for _, own in guides)}
    if run.adapters:
        params["scales"] = request.adapters.scales(request, run)
    schedule, size = request.guidance.guidance_schedule, run.size(request.size.size)
    guide = tuple(one for one, _ in guides if one)
    generate = make(model, _solver(request), size, schedule, shown, guide)
    times, options = padded_times(request, run), sampling.arguments(settings(request))
    controls = Extras(**merged(s.controls(request, run) for s in request))
    each = merged(s.each(request, run) for s in request)
    inputs = {**inputs_of(request, run), **each}
    inverted = _noise_behind(reading, trained, request)
    noise = inverted if inverted is not None else request.latents.noise(request, run)
    if noise is not None:
        inputs["noise"] = noise
    mesh = devices("jit")

    def one_batch(chosen: Batch, seeds: np.ndarray) -> Any:
        chosen, seeds = mesh.split((chosen, seeds))
        noise = chosen.pop("noise", None)
        extras = controls._replace(**_nested({name: chosen.pop(name) for name in each}))
        with mesh.in_force():
            guidance = request.guidance.guidance
            return generate(params, chosen, seeds, times, guidance, options, noise, extras)

    return one_batch, inputs, inverted


def _batches(
    one_batch: Callable[[Batch, np.ndarray], Any], inputs: Batch, request: Request, start: int
) -> Iterator[tuple[np.ndarray, ...]]:
    """Images uint8 batch by batch, and previews where there are such."""
    for found in each_batch(one_batch, inputs, seeds(request), request.images.batch_size, start):
        images, *previews = found if isinstance(found, tuple) else (found,)
        end = start + len(images)
        own = {name: np.asarray(x)[start:end] for name, x in inputs.items()}
        for section in request:
            images = section.finish(images, own)
        yield image_files.to_uint8(images), *previews
        start = end


def _wrapped(model: DiffusionModel, request: Request, run: RunView, kinds: Any) -> DiffusionModel:
    """The model as the sections of these kinds want it."""
    for section in request:
        if type(section) in kinds:
            model = section.wrap(model, request, run)
    return model


def merged(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The entries of several."""
    return {name: x for part in parts for name, x in part.items()}


def _nested(each: Batch) -> dict[str, Any]:
    """Entries "negative.tokens" as {"negative": {"tokens": ...}}."""
    found: dict[str, Any] = {}
    for name, x in each.items():
        head, dot, tail = name.partition(".")
        if dot:
            found.setdefault(head, {})[tail] = x
        else:
            found[name] = x
    return found


def _solver(request: Request) -> Callable[..., Sampler]:
    """What makes the sampler of its options."""
    make = SAMPLERS[request.sampler.sampler].make
    for section in request:
        make = section.solver(make)
    return make


def padded_times(request: Request, run: RunView) -> np.ndarray:
    """The times in one form for any number of steps up to T, or 2 T, ..."""
    times, T = times_of(request, run), run.model.process.T
    return pad(times, T * math.ceil((len(times) - 1) / T))


def _noise_behind(
    model: DiffusionModel, trained: runs.Trained, request: Request
) -> np.ndarray | None:
    """The noise that leads to the request's image, [num, h, w, c] float32; None: not asked for."""
    start, run = request.start, view(trained)
    if not request.options().get("invert"):
        return None
    invert, mesh = make_invert(model), devices("jit")
    times = pad(times_of(request, run)[::-1], run.model.process.T)
    inputs = {**start.inverted(request, run), "image": start.image(request, run)}

    def one_batch(chosen: Batch, _: np.ndarray) -> Array:
        chosen = mesh.split(chosen)
        with mesh.in_force():
            return invert(trained.params, chosen, chosen.pop("image"), times)

    num, batch_size = request.images.num, request.images.batch_size
    return in_batches(one_batch, inputs, np.arange(num), batch_size)
