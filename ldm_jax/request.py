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
from ldm_jax.errors import InputError
from ldm_jax.pipelines import tiled
from ldm_jax.pipelines.generate import in_batches, make_generate
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
    sampling.grid(request, process)
    if latents:
        load_latents(latents, _shape(trained, num))
    return request


def check_count(num: int, seed: int) -> None:
    """Raises InputError unless there are pictures to draw, and a seed for each."""
    if num < 1:
        raise InputError(f"--num is {num}: expected at least 1")
    if not 0 <= seed < 2**32 - num:
        raise InputError(f"--seed is {seed}: expected 0 to {2**32 - num - 1}")


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


def inputs(trained: runs.Trained, request: Request) -> Batch:
    """What the conditioner reads for the request, each [num, ...]."""
    turn = np.arange(request.num)
    if request.labels:
        return {"label": np.asarray(request.labels, np.int32)[turn % len(request.labels)]}
    if isinstance(trained.experiment.condition, Text):
        prompts = request.prompts or ("",)
        rows = np.stack([tokens.encode(trained.tokenizer, prompt) for prompt in prompts])
        return {"tokens": rows[turn % len(prompts)]}
    return {}


def draw(trained: runs.Trained, request: Request) -> np.ndarray:
    """The pictures of a request, uint8 [num, H, W, 3]."""
    model, size = trained.model, trained.experiment.data.image_size
    print(sampling.describe(request), flush=True)
    if request.tile:
        print(tiled.describe(model.first_stage, size, size, request.tile))
        model = model._replace(first_stage=tiled.tiled(model.first_stage, request.tile))
    generate = make_generate(model, build.build_sampler(request.sampler), size)
    times, options = sampling.padded_grid(request, model.process), sampling.arguments(request)
    spread = devices("jit")
    given = inputs(trained, request)
    if request.latents:
        given["noise"] = load_latents(request.latents, _shape(trained, request.num))

    def one_batch(chosen: Batch, seeds: np.ndarray) -> Array:
        chosen, seeds = spread.split((chosen, seeds))
        noise = chosen.pop("noise", None)
        return generate(trained.params, chosen, seeds, times, request.guidance, options, noise)

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
