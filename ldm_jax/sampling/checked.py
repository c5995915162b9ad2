"""From the words of sample.py to a request that the model can meet."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace

from ldm_jax import runs
from ldm_jax.config import Label
from ldm_jax.errors import InputError
from ldm_jax.experiments.train import check_batch
from ldm_jax.sampling import tiled
from ldm_jax.sampling.captions import check_captions, read_prompts
from ldm_jax.sampling.classifier import describe_classifier
from ldm_jax.sampling.condition import check_condition, class_of
from ldm_jax.sampling.finishing import check_finishing
from ldm_jax.sampling.frames import check_frames
from ldm_jax.sampling.generate import at_once
from ldm_jax.sampling.given import image_size, latent_shape, load_latents
from ldm_jax.sampling.guidance import check_guidance
from ldm_jax.sampling.noise_level import how_noisy
from ldm_jax.sampling.shown import check_shown
from ldm_jax.sampling.start import check_start, how_resampled, how_strong, times_of
from ldm_jax.sampling.task import check_size, check_task
from ldm_jax.sampling.walk import choose_walk
from ldm_jax.sampling.wanted import Request


def resolve(
    trained: runs.Trained,
    *,
    num: int | None = None,
    batch_size: int | None = None,
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
    prompts_file: str | None = None,
    emphasis: bool | None = None,
    long_prompts: bool | None = None,
    clip_skip: int | None = None,
    frames: int | None = None,
    to_prompt: Sequence[str] = (),
    to_seed: Sequence[int] = (),
    turn: int = 0,
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
    guidance_schedule: str | None = None,
    compose: Sequence[str] = (),
    compose_weights: Sequence[float] = (),
    classifier: str | None = None,
    classifier_scale: float | None = None,
    resample: int | None = None,
    jump_length: int | None = None,
    invert: bool | None = None,
    source: str | None = None,
    boxes: str | None = None,
    segmentation: str | None = None,
    low_resolution: str | None = None,
    noise_level: int | None = None,
    depth: str | None = None,
    image: str | None = None,
    neighbours: str | None = None,
    query: str | None = None,
    from_data: int | None = None,
    safety_check: str | None = None,
    watermark: str | None = None,
    param_dtype: str | None = None,
    decode_with: str | None = None,
    preview_every: int | None = None,
    preview_with: str | None = None,
    size: Sequence[int] = (),
    patch: int | None = None,
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
    if prompts_file and prompt:
        raise InputError("--prompt and --prompts-file both say prompts: leave one of them out")
    prompt = read_prompts(prompts_file) if prompts_file else prompt
    check_condition(trained, prompt, label, classifier)
    judge = describe_classifier(classifier, classifier_scale, trained)
    labels = _labels(label, trained, judge)
    if num is None:
        num = frames or from_data or len(prompt) or len(labels) or (1 if invert else 16)
    batch_size = at_once(num) if batch_size is None else batch_size
    options = {"eta": eta, "s_churn": s_churn, "s_tmin": s_tmin, "s_tmax": s_tmax}
    options |= {"s_noise": s_noise}
    asked = choose_walk(experiment.sampling, sampler, steps, grid, times, guidance, options)
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
        strength=how_strong(strength, init_image, mask, bool(invert)),
        mask=mask,
        guidance_schedule=guidance_schedule or "constant",
        compose=tuple(compose),
        compose_weights=tuple(compose_weights) or (1.0,) * len(compose),
        classifier=classifier,
        classifier_scale=(1.0 if classifier_scale is None else classifier_scale)
        if classifier
        else None,
        invert=bool(invert),
        source=source,
        boxes=boxes,
        segmentation=segmentation,
        low_resolution=low_resolution,
        noise_level=how_noisy(noise_level, trained),
        depth=depth,
        image=image,
        neighbours=neighbours,
        query=query,
        from_data=from_data,
        emphasis=bool(emphasis),
        long_prompts=bool(long_prompts),
        clip_skip=clip_skip,
        frames=frames,
        to_prompts=tuple(to_prompt),
        to_seeds=tuple(to_seed),
        turn=turn,
        safety_check=safety_check,
        watermark=watermark,
        param_dtype=param_dtype,
        decode_with=decode_with,
        preview_every=preview_every,
        preview_with=preview_with,
        size=tuple(size),
        patch=patch,
    )
    check_size(request, trained)
    check_count(num, seed)
    check_frames(request, trained)
    check_batch(batch_size, "--batch-size")
    if not math.isfinite(request.guidance):
        raise InputError(f"--guidance is {request.guidance}: expected a number, such as 1 for none")
    process = trained.model.process
    if not request.times and not 1 <= request.steps <= process.T:
        raise InputError(
            f"--steps is {request.steps}: expected 1 to {process.T}, the steps of the process"
        )
    tiled.check(tile)
    if latents:
        load_latents(latents, latent_shape(trained, num, size), turn)
    check_guidance(request, trained)
    check_captions(request, trained)
    check_start(request, trained)
    K = len(times_of(request, trained)) - 1
    resample, jump_length = how_resampled(resample, jump_length, mask, K)
    request = replace(request, resample=resample, jump_length=jump_length)
    check_task(request, trained)
    check_shown(request, trained)
    check_finishing(request, image_size(trained, size))
    return request


def _labels(
    label: Sequence[str], trained: runs.Trained, judge: runs.TrainedClassifier | None
) -> tuple[int, ...]:
    """The classes of the words, the model's or a classifier's; all of them where none is given."""
    condition = trained.experiment.condition
    if isinstance(condition, Label):
        names, count = trained.class_names, condition.num_classes
    elif judge:
        names, count = judge.class_names, judge.experiment.num_classes
    else:
        return ()
    return tuple(class_of(word, names, count) for word in label) or tuple(range(count))


def check_count(num: int, seed: int) -> None:
    """Raises InputError unless there are images to draw, and a seed for each."""
    if num < 1:
        raise InputError(f"--num is {num}: expected at least 1")
    if not 0 <= seed < 2**32 - num:
        raise InputError(f"--seed is {seed}: expected 0 to {2**32 - num - 1}")
