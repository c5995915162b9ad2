"""Whether what a request asks of guidance can be."""

import math

from ldm_jax import runs
from ldm_jax.config import Text
from ldm_jax.errors import InputError
from ldm_jax.sampling.condition import kind_of
from ldm_jax.sampling.wanted import Request


def check_guidance(request: Request, trained: runs.Trained) -> None:
    """Raises InputError for guidance that cannot be, or that does nothing."""
    _check_composition(request, trained)
    if request.negative_prompts and not isinstance(trained.experiment.condition, Text):
        raise InputError(
            f"--negative-prompt '{request.negative_prompts[0]}' given to a model of "
            f"{kind_of(trained)}: leave it out, or sample from a run whose config has "
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
        "--guidance-schedule": request.guidance_schedule != "constant",
    }
    guided = request.guidance != 1.0 and trained.model.conditioner.keys
    if guided and not getattr(trained.experiment.condition, "null", True):
        raise InputError(
            f"--guidance is {request.guidance}: expected 1, since this model has no class for no "
            "label (condition.null is False)"
        )
    for name in (name for name, given in options.items() if given and not guided):
        raise InputError(f"{name} does nothing without guidance: expected --guidance other than 1")


def _check_composition(request: Request, trained: runs.Trained) -> None:
    """Raises InputError for prompts that cannot be composed, or not so."""
    weights = request.compose_weights
    if not request.compose:
        if weights:
            raise InputError(f"--compose-weights {weights[0]:g}: expected --compose, too")
        return
    if not isinstance(trained.experiment.condition, Text):
        raise InputError(
            f"--compose '{request.compose[0]}' given to a model of {kind_of(trained)}: leave it "
            "out, or sample from a run whose config has condition=Text()"
        )
    if len(weights) != len(request.compose) or not all(map(math.isfinite, weights)):
        given = " ".join(f"{weight:g}" for weight in weights)
        raise InputError(
            f"--compose-weights is {given}: expected {len(request.compose)} numbers, one for each "
            "prompt of --compose"
        )
    others = {
        "--prompt": bool(request.prompts),
        "--negative-prompt": bool(request.negative_prompts),
        "--guidance-rescale": request.guidance_rescale is not None,
        "--guidance-interval": bool(request.guidance_interval),
        "--guidance-schedule": request.guidance_schedule != "constant",
    }
    for name in (name for name, given in others.items() if given):
        raise InputError(
            f"{name} and --compose do not go together: leave one out (a negative weight in "
            "--compose-weights stays away from a prompt; --threshold, --classifier, --init-image, "
            "--mask and --invert go with --compose, and every sampler does)"
        )
