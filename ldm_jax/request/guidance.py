"""Whether what a request asks of guidance can be."""

from ldm_jax import runs
from ldm_jax.config import Text
from ldm_jax.errors import InputError
from ldm_jax.request.condition import kind_of
from ldm_jax.request.wanted import Request


def how_strong(strength: float | None, init_image: str | None, mask: str | None) -> float | None:
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


def check_guidance(request: Request, trained: runs.Trained) -> None:
    """Raises InputError for guidance that cannot be, or that does nothing."""
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
    }
    guided = request.guidance != 1.0 and trained.model.conditioner.keys
    if guided and not getattr(trained.experiment.condition, "null", True):
        raise InputError(
            f"--guidance is {request.guidance}: expected 1, since this model has no class for no "
            "label (condition.null is False)"
        )
    for name in (name for name, given in options.items() if given and not guided):
        raise InputError(f"{name} does nothing without guidance: expected --guidance other than 1")
