"""From the words of sample.py to a request that the model can meet."""

import math
from collections.abc import Sequence
from dataclasses import asdict

from ldm_jax import runs, sampling
from ldm_jax.config import Label
from ldm_jax.diffusion.times import later
from ldm_jax.errors import InputError
from ldm_jax.pipelines import tiled
from ldm_jax.request.condition import check_condition, class_of
from ldm_jax.request.given import latent_shape, load_image, load_latents
from ldm_jax.request.guidance import check_guidance, how_strong
from ldm_jax.request.walk import choose_walk
from ldm_jax.request.wanted import Request
from ldm_jax.sharding import check_batch


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
    check_condition(trained, prompt, label)
    if isinstance(experiment.condition, Label) and not label:
        label = [str(i) for i in range(experiment.condition.num_classes)]
    labels = tuple(class_of(word, trained) for word in label)
    if num is None:
        num = len(prompt) or len(labels) or 16
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
        strength=how_strong(strength, init_image, mask),
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
        load_latents(latents, latent_shape(trained, num))
    check_guidance(request, trained)
    if init_image:
        if len(later(grid, request.strength)) < 2:
            raise InputError(
                f"--strength is {request.strength}: expected at least {1 / (len(grid) - 1):.3g}, "
                f"one of the {len(grid) - 1} steps"
            )
        load_image(init_image, "--init-image", trained)
        if mask:
            load_image(mask, "--mask", trained)
    return request


def check_count(num: int, seed: int) -> None:
    """Raises InputError unless there are pictures to draw, and a seed for each."""
    if num < 1:
        raise InputError(f"--num is {num}: expected at least 1")
    if not 0 <= seed < 2**32 - num:
        raise InputError(f"--seed is {seed}: expected 0 to {2**32 - num - 1}")
