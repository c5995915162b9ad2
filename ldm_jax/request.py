"""A request for pictures: checked, drawn from a trained model, and written with its report."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ldm_jax
from ldm_jax import build, pictures, runs, sampling
from ldm_jax.conditioning import tokenizer as tokens
from ldm_jax.config import Label, Sampling, Text
from ldm_jax.data import transforms
from ldm_jax.diffusion.times import later, pad
from ldm_jax.errors import InputError
from ldm_jax.pipelines import tiled
from ldm_jax.pipelines.generate import Told, in_batches, make_generate
from ldm_jax.sharding import check_batch, devices
from ldm_jax.types import Array, Batch


@dataclass(frozen=True, kw_only=True)
class Request(Sampling):
    """Everything that decides which pictures are drawn.

    Of the sampler's options, those that it does not take are None; so is the grid where times are
    given.
    """

    num: int
    batch_size: int
    seed: int
    prompts: tuple[str, ...] = ()  # taken in turn
    labels: tuple[int, ...] = ()  # taken in turn
    latents: str | None = None  # .npy of the noise to start from
    tile: int | None = None  # latents a side of the tiles that are decoded one by one
    negative_prompts: tuple[str, ...] = ()  # taken in turn; what to stay away from
    guidance_rescale: float | None = None
    guidance_interval: tuple[float, ...] = ()  # two noise levels sigma / alpha
    threshold: float | None = None  # of latents
    init_image: str | None = None  # to start from
    strength: float | None = None  # how much of the grid is walked from there
    mask: str | None = None  # white where the image is made anew


def resolve(
    trained: runs.Trained,
    *,
    num: int | None = None,
    batch_size: int = 16,
    seed: int = 0,
    steps: int | None = None,
    sampler: str | None = None,
    grid: str | None = None,
    times: Sequence[float] = (),
    guidance: float | None = None,
    eta: float | None = None,
    s_churn: float | None = None,
    s_tmin: float | None = None,
    s_tmax: float | None = None,
    s_noise: float | None = None,
    prompt: Sequence[str] = (),
    label: Sequence[str] = (),
    latents: str | None = None,
    tile: int | None = None,
    interpolate: int | None = None,
    negative_prompt: Sequence[str] = (),
    guidance_rescale: float | None = None,
    guidance_interval: Sequence[float] = (),
    threshold: float | None = None,
    init_image: str | None = None,
    strength: float | None = None,
    mask: str | None = None,
) -> Request:
    """The request with the run's own settings where None is given.

    Raises:
        InputError: what the model cannot be asked for.
    """
    experiment = trained.experiment
    if interpolate is not None:
        raise InputError(
            f"--interpolate {interpolate} given to a diffusion model: expected the run of a first "
            "stage that is a model by itself, trained with a config such as configs/vae.py"
        )
    if prompt and not isinstance(experiment.condition, Text):
        raise InputError(
            f"prompt '{prompt[0]}' given to a model of {_kind(trained)}: leave out --prompt, "
            "or sample from a run whose config has condition=Text()"
        )
    if label and not isinstance(experiment.condition, Label):
        raise InputError(
            f"label '{label[0]}' given to a model of {_kind(trained)}: leave out --label, "
            "or sample from a run whose config has condition=Label()"
        )
    if isinstance(experiment.condition, Label) and not label:
        label = [str(i) for i in range(experiment.condition.num_classes)]
    labels = tuple(_label(word, trained) for word in label)
    if num is None:
        num = len(prompt) or len(labels) or 16
    options = {"eta": eta, "s_churn": s_churn, "s_tmin": s_tmin, "s_tmax": s_tmax}
    options |= {"s_noise": s_noise}
    asked = _sampling(experiment.sampling, sampler, steps, grid, times, guidance, options)
    request = Request(
        **asdict(asked),
        num=num,
        batch_size=batch_size,
        seed=seed,
        prompts=tuple(prompt),
        labels=labels,
        latents=latents,
        tile=tile,
        negative_prompts=tuple(negative_prompt),
        guidance_rescale=guidance_rescale,
        guidance_interval=tuple(guidance_interval),
        threshold=threshold,
        init_image=init_image,
        strength=_strength(strength, init_image, mask),
        mask=mask,
    )
    check_count(num, seed)
    check_batch(batch_size, "--batch-size")
    if not math.isfinite(request.guidance):
        raise InputError(f"--guidance is {request.guidance}: expected a number, such as 1 for none")
    process = trained.model.process
    if not request.times and not 1 <= request.steps <= process.T:
        raise InputError(
            f"--steps is {request.steps}: expected 1 to {process.T}, the steps of the process"
        )
    tiled.check(tile)
    grid = sampling.grid(request, process)
    if latents:
        load_latents(latents, _shape(trained, num))
    _check_guidance(request, trained)
    if init_image:
        if len(later(grid, request.strength)) < 2:
            raise InputError(
                f"--strength is {request.strength}: expected at least {1 / (len(grid) - 1):.3g}, "
                f"one of the {len(grid) - 1} steps"
            )
        _load_image(init_image, "--init-image", trained)
        if mask:
            _load_image(mask, "--mask", trained)
    return request


def check_count(num: int, seed: int) -> None:
    """Raises InputError unless there are pictures to draw, and a seed for each."""
    if num < 1:
        raise InputError(f"--num is {num}: expected at least 1")
    if not 0 <= seed < 2**32 - num:
        raise InputError(f"--seed is {seed}: expected 0 to {2**32 - num - 1}")


def _strength(strength: float | None, init_image: str | None, mask: str | None) -> float | None:
    """How much of the grid to walk: 0.75 from an image, all of it where a part is made anew.

    Raises:
        InputError: out of range, or no image to be so strong on.
    """
    for name, value in (("--strength", strength), ("--mask", mask)):
        if value is not None and not init_image:
            raise InputError(f"{name} is {value} without an image: expected --init-image, too")
    if strength is not None and not 0.0 < strength <= 1.0:
        raise InputError(f"--strength is {strength}: expected more than 0, at most 1")
    if not init_image:
        return None
    return strength if strength is not None else (1.0 if mask else 0.75)


def _check_guidance(request: Request, trained: runs.Trained) -> None:
    """Raises InputError for guidance that cannot be, or that does nothing."""
    if request.negative_prompts and not isinstance(trained.experiment.condition, Text):
        raise InputError(
            f"--negative-prompt '{request.negative_prompts[0]}' given to a model of "
            f"{_kind(trained)}: leave it out, or sample from a run whose config has "
            "condition=Text()"
        )
    rescale, levels, limit = (
        request.guidance_rescale,
        request.guidance_interval,
        request.threshold,
    )
    if rescale is not None and not 0.0 <= rescale <= 1.0:
        raise InputError(f"--guidance-rescale is {rescale}: expected 0 to 1")
    if levels and not (len(levels) == 2 and 0.0 <= levels[0] < levels[1]):
        given = " ".join(f"{level:g}" for level in levels)
        raise InputError(
            f"--guidance-interval is {given}: expected two levels of noise (sigma / alpha), the "
            "lower first, such as 0.3 3"
        )
    if limit is not None and not limit > 0.0:
        raise InputError(f"--threshold is {limit}: expected more than 0, such as 3 for latents")
    options = {
        "--negative-prompt": bool(request.negative_prompts),
        "--guidance-rescale": rescale is not None,
        "--guidance-interval": bool(levels),
    }
    guided = request.guidance != 1.0 and trained.model.conditioner.keys
    for name in (name for name, given in options.items() if given and not guided):
        raise InputError(f"{name} does nothing without guidance: expected --guidance other than 1")


def _sampling(
    own: Sampling,
    sampler: str | None,
    steps: int | None,
    grid: str | None,
    times: Sequence[float],
    guidance: float | None,
    options: dict[str, float | None],
) -> Sampling:
    """The run's own sampling with what is asked for in its place.

    Raises:
        InputError: settings that do not go together, and options out of range.
    """
    if times and (steps is not None or grid):
        given = f"--steps {steps}" if steps is not None else f"--grid {grid}"
        raise InputError(f"--times and {given} both say which times: leave one of them out")
    for name, value in options.items():
        if name == "eta" and value is not None and not 0.0 <= value <= 1.0:
            raise InputError(f"--eta is {value}: expected 0 (DDIM) to 1 (DDPM)")
        if value is not None and not 0.0 <= value < math.inf:
            raise InputError(f"{_flag(name)} is {value}: expected 0 or more")
    sampler = sampler or own.sampler
    build.build_sampler(sampler)
    sampling.check_options(Sampling(sampler=sampler, **options), _flag)
    if sampler == own.sampler:
        options = {n: getattr(own, n) if value is None else value for n, value in options.items()}
    times = tuple(times) or (own.times if steps is None and not grid else ())
    asked = Sampling(
        sampler=sampler,
        steps=own.steps if steps is None else steps,
        grid=grid or own.grid,
        times=times,
        guidance=own.guidance if guidance is None else guidance,
        **options,
    )
    if times:
        asked = replace(asked, steps=sampling.steps(asked), grid=None)
    return replace(asked, **sampling.with_defaults(asked))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _kind(trained: runs.Trained) -> str:
    kinds = {"Text": "captions", "Label": "class labels", "Unconditional": "no condition"}
    return kinds[type(trained.experiment.condition).__name__]


def _label(word: str, trained: runs.Trained) -> int:
    """The class that a word names or numbers."""
    if word in trained.class_names:
        return trained.class_names.index(word)
    count = trained.experiment.condition.num_classes
    if word.isdecimal() and int(word) < count:
        return int(word)
    names = f", or one of {', '.join(trained.class_names)}" if trained.class_names else ""
    raise InputError(f"label '{word}' is out of range: expected 0 to {count - 1}{names}")


def _shape(trained: runs.Trained, num: int) -> tuple[int, ...]:
    stage = trained.model.first_stage
    side = trained.experiment.data.image_size // stage.factor
    return num, side, side, stage.channels


def load_latents(path: str, expected: tuple[int, ...]) -> np.ndarray:
    """The latents in a .npy, of shape `expected` = [num, h, w, c]; anything else: InputError."""
    if not Path(path).is_file():
        raise InputError(f"latents '{path}' do not exist: expected a .npy of shape {expected}")
    try:
        with open(path, "rb") as file:
            latents = np.lib.format.read_array(file, allow_pickle=False)
        if latents.dtype.kind not in "fiu":
            raise TypeError(f"numbers of type {latents.dtype}")
    except Exception as error:
        raise InputError(f"latents '{path}' are not a .npy of real numbers: {error}") from error
    if latents.shape != expected:
        raise InputError(
            f"latents '{path}' have shape {latents.shape}: expected {expected} "
            f"for --num {expected[0]}"
        )
    return latents.astype(np.float32)


def _load_image(path: str, flag: str, trained: runs.Trained) -> np.ndarray:
    """A picture as training saw its images, its middle square scaled, uint8 [size, size, 3].

    Raises:
        InputError: no such file, or not a picture.
    """
    data = trained.experiment.data
    if not Path(path).is_file():
        raise InputError(f"{flag} '{path}' does not exist: expected a picture, such as a PNG")
    try:
        image = transforms.decode(path, data.background)
    except Exception as error:
        raise InputError(f"{flag} '{path}' is not a picture: {error}") from error
    resized = np.asarray(transforms.resize(image, data.image_size))
    return transforms.center_crop(resized, data.image_size)


def inputs(trained: runs.Trained, request: Request) -> Batch:
    """What the conditioner reads for the request, each [num, ...]."""
    turn = np.arange(request.num)
    if request.labels:
        return {"label": np.asarray(request.labels, np.int32)[turn % len(request.labels)]}
    if isinstance(trained.experiment.condition, Text):
        return {"tokens": _in_turn(trained, request.prompts or ("",), request.num)}
    return {}


def _in_turn(trained: runs.Trained, prompts: Sequence[str], num: int) -> np.ndarray:
    rows = np.stack([tokens.encode(trained.tokenizer, prompt) for prompt in prompts])
    return rows[np.arange(num) % len(prompts)]


def told_of(trained: runs.Trained, request: Request) -> tuple[Told, Batch]:
    """What a request says beside the condition: what holds for all, and what is each picture's.

    Returns:
        Told without its arrays of pictures, and these, each [num, ...], under their names.
    """
    each = {}
    if request.negative_prompts:
        each["negative"] = _in_turn(trained, request.negative_prompts, request.num)
    for name, path in (("image", request.init_image), ("mask", request.mask)):
        if path:
            flag = "--mask" if name == "mask" else "--init-image"
            image = _load_image(path, flag, trained)
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
        given["noise"] = load_latents(request.latents, _shape(trained, request.num))

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


def write(
    out: Path,
    images: np.ndarray,
    trained: runs.Trained | runs.TrainedFirstStage,
    request: Any,
    columns: int | None = None,
) -> None:
    """Writes OUT/000000.png ..., grid.png (so many columns wide), samples.npz and report.json.

    Pictures that an earlier command left beyond the last of these are removed.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("[0-9]" * 6 + ".png"):
        if int(old.stem) >= len(images):
            old.unlink()
    for i, image in enumerate(images):
        pictures.save(out / f"{i:06d}.png", image)
    pictures.save(out / "grid.png", pictures.grid(images, columns))
    np.savez(out / "samples.npz", images)
    (out / "report.json").write_text(json.dumps(report(trained, request), indent=2) + "\n")


def report(trained: runs.Trained | runs.TrainedFirstStage, request: Any) -> dict[str, Any]:
    """All that is needed to draw the same pictures again."""
    return {
        "run": str(trained.run),
        "checkpoint": trained.step,
        "weights": "ema",
        **asdict(request),
        "image_size": trained.experiment.data.image_size,
        "classes": trained.class_names,
        "ldm_jax": ldm_jax.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "config": asdict(trained.experiment),
    }
