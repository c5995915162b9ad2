"""A walk between prompts and between seeds, frame by frame."""

from collections.abc import Sequence

import numpy as np

from ldm_jax import runs
from ldm_jax.config import Label, Text
from ldm_jax.errors import InputError
from ldm_jax.sampling.wanted import Request


def seeds(request: Request) -> np.ndarray:
    """The seed of each image, [num]; all frames of a walk have one."""
    return request.seed + (np.zeros(request.num, int) if request.frames else np.arange(request.num))


def turns(request: Request) -> np.ndarray:
    """The place of each image among what is taken in turn, [num]; frames take the first."""
    return np.zeros(request.num, int) if request.frames else request.turn + np.arange(request.num)


def legs(request: Request, stops: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Where each frame is on the way from the start over all stops, at an even pace.

    Returns:
        [num] the leg, 0 from the start to the first stop; and float32 [num] how far on it, 0 to 1.
    """
    frame = request.turn + np.arange(request.num)
    place = frame * len(stops) / (request.frames - 1)
    leg = np.minimum(place.astype(int), len(stops) - 1)
    return leg, np.float32(place - leg)


def describe_frames(request: Request) -> str:
    """What is walked, for one line."""
    words = " to ".join(f"'{text}'" for text in (*(request.prompts or ("",)), *request.to_prompts))
    numbers = " to ".join(map(str, (request.seed, *request.to_seeds)))
    ways = [f"prompt {words}"] * bool(request.to_prompts)
    ways += [f"seed {numbers}"] * bool(request.to_seeds)
    return f"{request.num} of {request.frames} frames from {' and from '.join(ways)}"


def check_frames(request: Request, trained: runs.Trained) -> None:
    """Raises InputError for a walk that leads nowhere, or that cannot be."""
    frames, condition = request.frames, trained.experiment.condition
    to = {"--to-prompt": request.to_prompts, "--to-seed": request.to_seeds}
    for flag in (flag for flag, stops in to.items() if stops and frames is None):
        raise InputError(f"{flag} is {to[flag][0]!r}: expected --frames N, too, images of a walk")
    if frames is None:
        return
    if frames < 2:
        raise InputError(f"--frames is {frames}: expected at least 2, both ends")
    if not any(to.values()):
        raise InputError(f"--frames is {frames}: expected --to-prompt or --to-seed, where to walk")
    if request.turn + request.num > frames:
        raise InputError(
            f"--num is {request.num}, from frame {request.turn} on: expected at most "
            f"{frames - request.turn}, what is left of --frames {frames}"
        )
    if request.to_prompts and not isinstance(condition, Text):
        raise InputError(
            f"--to-prompt '{request.to_prompts[0]}' given to a model without captions: leave it "
            "out, or sample from a run whose config has condition=Text()"
        )
    if request.to_prompts and request.compose:
        raise InputError("--to-prompt and --compose do not go together: leave one of them out")
    several = {"--prompt": request.prompts, "--negative-prompt": request.negative_prompts}
    several |= {"--label": request.labels} if isinstance(condition, Label) else {}
    for flag, given in several.items():
        if len(given) > 1:
            raise InputError(
                f"{flag} names {len(given)} for --frames {frames}: expected one, with which the "
                "walk begins"
            )
    for seed in request.to_seeds:
        if not 0 <= seed < 2**32:
            raise InputError(f"--to-seed is {seed}: expected 0 to {2**32 - 1}")
    for flag, given in (("--latents", request.latents), ("--invert", request.invert)):
        if given and request.to_seeds:
            raise InputError(f"--to-seed and {flag} both say which noise: leave one of them out")
