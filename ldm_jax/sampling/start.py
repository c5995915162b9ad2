"""How a request starts from an image: noised in part, masked, or the noise behind it."""

import numpy as np

from ldm_jax import runs
from ldm_jax.config import Label, Sampling, Text
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import SAMPLERS
from ldm_jax.diffusion.samplers.repaint import resampled
from ldm_jax.diffusion.spacing import later
from ldm_jax.errors import InputError
from ldm_jax.sampling.condition import class_of
from ldm_jax.sampling.given import load_image
from ldm_jax.sampling.wanted import Request

NOISELESS = ("plms", "lms", "dpmpp_2m", "dpmpp_2s", "dpmpp_3m", "unipc")  # whatever they are told


def how_strong(
    strength: float | None, init_image: str | None, mask: str | None, invert: bool
) -> float | None:
    """How much of the grid to walk: 0.75 from an image, all of it where a part is made anew.

    Raises:
        InputError: out of range, or no image to be so strong on.
    """
    given = (("--strength", strength), ("--mask", mask), ("--invert", invert or None))
    for name, value in given:
        if value is not None and not init_image:
            raise InputError(f"{name} is {value} without an image: expected --init-image, too")
    if strength is not None and not 0.0 < strength <= 1.0:
        raise InputError(f"--strength is {strength}: expected more than 0, at most 1")
    if not init_image or invert:
        for name, value in (("--strength", strength), ("--mask", mask)):
            if value is not None:
                raise InputError(
                    f"{name} is {value} with --invert: leave it out, since all of the grid is "
                    "walked from the noise behind the whole image"
                )
        return None
    return strength if strength is not None else (1.0 if mask else 0.75)


def how_resampled(
    resample: int | None, jump_length: int | None, mask: str | None, K: int
) -> tuple[int | None, int | None]:
    """How often RePaint takes how many of K steps; their 10 steps, or all but one of fewer.

    Raises:
        InputError: out of range, or no mask.
    """
    for name, value in (("--resample", resample), ("--jump-length", jump_length)):
        if value is not None and not mask:
            raise InputError(f"{name} is {value} without a mask: expected --init-image and --mask")
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}: expected at least 1")
    if resample is None:
        if jump_length is not None:
            raise InputError(
                f"--jump-length is {jump_length}: expected --resample N, too, how often so many "
                "steps are taken"
            )
        return None, None
    if max(jump_length or 1, 1) >= K:
        raise InputError(
            f"--jump-length is {jump_length or 1}: expected less than the {K} steps that are walked"
        )
    return resample, jump_length or min(10, K - 1)


def times_of(request: Request, trained: runs.Trained) -> np.ndarray:
    """All times that a request visits, [K + 1]; those that RePaint visits again included."""
    times = sampling.times(request, trained.model.process)
    if request.strength is not None:
        times = later(times, request.strength)
    if request.resample:
        times = resampled(times, request.jump_length, request.resample)
    return times


def check_start(request: Request, trained: runs.Trained) -> None:
    """Raises InputError for images that cannot be used, and for what does not fit them."""
    if not request.init_image:
        if request.source is not None:
            raise InputError(
                f"--source '{request.source}': expected --init-image and --invert True"
            )
        return
    if request.strength is not None:
        K = len(sampling.times(request, trained.model.process)) - 1
        if len(later(np.arange(K + 1), request.strength)) < 2:
            raise InputError(
                f"--strength is {request.strength}: expected at least {1 / K:.3g}, "
                f"one of the {K} steps"
            )
    load_image(request.init_image, "--init-image", trained)
    if request.mask:
        load_image(request.mask, "--mask", trained)
    if request.invert:
        _check_invert(request, trained)
    elif request.source is not None:
        raise InputError(f"--source '{request.source}': expected --invert True, too")


def _check_invert(request: Request, trained: runs.Trained) -> None:
    """Raises InputError where the noise behind an image would not lead back to it."""
    if request.latents:
        raise InputError(
            f"--latents '{request.latents}' and --invert both say where to start: leave one out"
        )
    told = sampling.with_defaults(request)
    drawn = request.sampler not in NOISELESS and not (told["eta"] == 0 or told["s_churn"] == 0)
    if drawn:
        options = [name for name in ("eta", "s_churn") if told[name] is not None]
        remedy = f"--{options[0].replace('_', '-')} 0, or " if options else ""
        others = [name for name in SAMPLERS if name in NOISELESS or noiseless(name)]
        raise InputError(
            f"--invert with {request.sampler}, which draws noise on the way, does not lead back to "
            f"the image: expected {remedy}one of {', '.join(others)}"
        )
    source, condition = request.source, trained.experiment.condition
    if source is not None and isinstance(condition, Label):
        class_of(source, trained.class_names, condition.num_classes)
    elif source is not None and not isinstance(condition, Text):
        raise InputError(
            f"--source '{source}' given to a model without captions and labels: leave it out"
        )


def noiseless(sampler: str) -> bool:
    """Whether a sampler draws no noise unless told to."""
    told = sampling.with_defaults(Sampling(sampler=sampler))
    return sampler in NOISELESS or told["eta"] == 0 or told["s_churn"] == 0
