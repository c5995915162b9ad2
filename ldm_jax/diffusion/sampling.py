"""What a `config.Sampling` asks for: which sampler, over which times, told what."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ldm_jax.config import Sampling
from ldm_jax.diffusion import spacing
from ldm_jax.diffusion.samplers.churn import Churn
from ldm_jax.diffusion.samplers.names import SAMPLERS
from ldm_jax.errors import InputError
from ldm_jax.types import Process

OPTIONS = ("eta", "s_churn", "s_tmin", "s_tmax", "s_noise")  # fields that only some samplers take


def check_options(asked: Sampling, spell: Callable[[str], str]) -> None:
    """Raises InputError for the first option that the sampler does not take.

    Args:
        spell: name of a field -> how it was given, such as "--eta".
    """
    for name in OPTIONS:
        value, takers = getattr(asked, name), takers_of(name)
        if value is not None and asked.sampler not in takers:
            raise InputError(
                f"{spell(name)} is {value:g}, which {asked.sampler} does not take: leave it out, "
                f"or choose a sampler that does, {', '.join(takers[:-1])} or {takers[-1]}"
            )


def takers_of(name: str) -> list[str]:
    """The samplers that take an option."""
    return [sampler for sampler, kind in SAMPLERS.items() if name in kind.options]


def with_defaults(asked: Sampling) -> dict[str, float | None]:
    """All options: as asked, or the sampler's own; None where it has none."""
    own = SAMPLERS[asked.sampler].options
    given = {name: getattr(asked, name) for name in OPTIONS if name in own}
    chosen = {name: own[name] if value is None else value for name, value in given.items()}
    return {name: chosen.get(name) for name in OPTIONS}


def grid(asked: Sampling, process: Process) -> np.ndarray:
    """The times that are visited, [K + 1] float32."""
    if asked.times:
        return spacing.by_hand(asked.times, process.T)
    return spacing.grid(asked.grid, process, asked.steps)


def padded_grid(asked: Sampling, process: Process) -> np.ndarray:
    """The same in the one form that serves any number of steps, [T + 1] float32."""
    return spacing.pad(grid(asked, process), process.T)


def steps(asked: Sampling) -> int:
    """How many steps the grid has."""
    return sum(time > 0 for time in asked.times) if asked.times else asked.steps


def arguments(asked: Sampling) -> dict[str, Any]:
    """What the sampler is called with: numbers, in one form for each sampler."""
    told = with_defaults(asked)
    if "s_churn" in SAMPLERS[asked.sampler].options:
        highest = math.inf if told["s_tmax"] is None else told["s_tmax"]
        each = told["s_churn"] / steps(asked)
        return {"churn": Churn(each, told["s_tmin"], highest, told["s_noise"])}
    return {name: told[name] for name in SAMPLERS[asked.sampler].options}


def describe(asked: Sampling) -> str:
    """One line that says what is used."""
    kind = SAMPLERS[asked.sampler]
    over = "given times" if asked.times else f"the {asked.grid} grid"
    told = {name: value for name, value in with_defaults(asked).items() if value is not None}
    settings = {**told, "guidance": asked.guidance}
    listed = ", ".join(f"{name} {value:g}" for name, value in settings.items())
    return f"{asked.sampler} ({kind.paper}): {steps(asked)} steps over {over}, {listed}"
