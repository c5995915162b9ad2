"""How a request goes from noise to data."""

import math
from collections.abc import Sequence
from dataclasses import replace

from ldm_jax.config import Sampling
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.errors import InputError


def choose_walk(
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
            raise InputError(f"{flag(name)} is {value}: expected 0 or more")
    sampler = sampler or own.sampler
    build_sampler(sampler)
    sampling.check_options(Sampling(sampler=sampler, **options), flag)
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


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
