"""What a `Sampling` setting chooses: a sampler, its times and its options."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from ldm_jax.diffusion import spacing
from ldm_jax.diffusion.samplers.churn import Churn
from ldm_jax.diffusion.samplers.names import SAMPLERS
from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1, Finite, Fraction, NotNegative, Positive, one_of
from ldm_jax.types import Process

SamplerName = Annotated[str, *one_of(SAMPLERS)]
ScheduleName = Literal["constant", "linear", "cosine"]  # of guidance
SpacingName = Literal["uniform", "leading", "trailing", "linspace", "karras", "exponential"]


@dataclass(frozen=True)
class Sampling:
    """How images are drawn unless the command line says otherwise."""

    sampler: SamplerName = "ddim"  # the method that takes the steps
    steps: AtLeast1 = 50  # of the sampler
    spacing: SpacingName = "uniform"  # of timesteps
    times: tuple[float, ...] = ()  # from noise to data, in place of steps and spacing
    guidance: Finite = 1.0  # 1 is no guidance
    eta: Fraction | None = None  # of some samplers, as all below; None: the sampler's own
    s_churn: NotNegative | None = None  # noise added before each step (Karras et al. 2022)
    s_tmin: NotNegative | None = None  # smallest sigma with such noise
    s_tmax: NotNegative | None = None  # largest sigma with such noise
    s_noise: NotNegative | None = None  # standard deviation of such noise
    # of the noise that sampling starts from: fewer artefacts with a little less (GLIDE: 0.997)
    noise_scale: Positive | None = None


OPTIONS = ("eta", "s_churn", "s_tmin", "s_tmax", "s_noise")  # fields that only some samplers take


def check_options(settings: Sampling, spell: Callable[[str], str]) -> None:
    """Raises InputError for the first option that the sampler does not take.

    Args:
        spell: name of a field -> how it was given, such as "--eta".
    """
    for name in OPTIONS:
        value, takers = getattr(settings, name), takers_of(name)
        if value is not None and settings.sampler not in takers:
            raise InputError(
                f"{spell(name)} is {value:g}, which {settings.sampler} does not take: leave it "
                f"out, or choose a sampler that does, {', '.join(takers[:-1])} or {takers[-1]}"
            )


def takers_of(name: str) -> list[str]:
    """The samplers that take an option."""
    return [sampler for sampler, kind in SAMPLERS.items() if name in kind.options]


def with_defaults(settings: Sampling) -> dict[str, float | None]:
    """All options: as set, or the sampler's default; None where it has none."""
    own = SAMPLERS[settings.sampler].options
    given = {name: getattr(settings, name) for name in OPTIONS if name in own}
    chosen = {name: own[name] if value is None else value for name, value in given.items()}
    return {name: chosen.get(name) for name in OPTIONS}


def times(settings: Sampling, process: Process) -> np.ndarray:
    """The times that the sampler visits, [K + 1] float32."""
    if settings.times:
        return spacing.by_hand(settings.times, process.T)
    return spacing.times(settings.spacing, process, settings.steps)


def padded_times(settings: Sampling, process: Process) -> np.ndarray:
    """The same times padded to one shape for any number of steps, [T + 1] float32."""
    return spacing.pad(times(settings, process), process.T)


def steps(settings: Sampling) -> int:
    """The number of steps."""
    return sum(time > 0 for time in settings.times) if settings.times else settings.steps


def arguments(settings: Sampling) -> dict[str, Any]:
    """The arguments of the sampler's constructor, the same names for any values."""
    options = with_defaults(settings)
    if "s_churn" in SAMPLERS[settings.sampler].options:
        highest = math.inf if options["s_tmax"] is None else options["s_tmax"]
        each = options["s_churn"] / steps(settings)
        return {"churn": Churn(each, options["s_tmin"], highest, options["s_noise"])}
    return {name: options[name] for name in SAMPLERS[settings.sampler].options}


def describe(settings: Sampling) -> str:
    """One line that names what is used."""
    kind = SAMPLERS[settings.sampler]
    over = "given times" if settings.times else f"{settings.spacing} spacing"
    options = {name: value for name, value in with_defaults(settings).items() if value is not None}
    values = {**options, "guidance": settings.guidance}
    listed = ", ".join(f"{name} {value:g}" for name, value in values.items())
    return f"{settings.sampler} ({kind.paper}): {steps(settings)} steps over {over}, {listed}"
