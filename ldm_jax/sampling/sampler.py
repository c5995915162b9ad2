"""How a request goes from noise to data: the sampler, its timestep spacing and its options."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import tyro

from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import SAMPLERS
from ldm_jax.diffusion.sampling import SamplerName, Sampling, SpacingName
from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView, Section, flag
from ldm_jax.settings import NotNegative, Range

Noise = Annotated[float, Range("0 (DDIM) to 1 (DDPM)", lambda x: 0 <= x <= 1)]


def _of(name: str, what: str):
    """An option of some samplers."""
    return tyro.conf.arg(help=f"{what}; of {', '.join(sampling.takers_of(name))}")


@dataclass(frozen=True)
class Sampler(Section):
    """How noise becomes images; where not given, as the run's config has it."""

    key: ClassVar[str] = "sampler"
    exportable: ClassVar[tuple[str, ...]] = (
        "sampler",
        "steps",
        "spacing",
        "times",
        *sampling.OPTIONS,
    )
    settles: ClassVar = {
        "sampler": sampling.OPTIONS,
        "times": ("steps", "spacing"),
        "steps": ("times",),
        "spacing": ("times",),
    }
    excludes: ClassVar = {"times": ("steps", "spacing")}
    renamed: ClassVar = {"grid": "spacing"}

    sampler: Annotated[
        SamplerName | None,
        tyro.conf.arg(
            metavar="NAME",
            help="\n".join(f"{name}: {kind.paper}" for name, kind in SAMPLERS.items()),
        ),
    ] = None
    steps: int | None = None
    """from noise to data, at most the steps of the process"""
    spacing: SpacingName | None = None
    """of the timesteps that the sampler visits; "uniform" is the original's"""
    times: Annotated[tuple[float, ...], tyro.conf.arg(metavar="T ...")] = ()
    """in place of steps and spacing: times from noise, at most the steps of the process, to data,
    0"""
    eta: Annotated[Noise | None, _of("eta", "0: no noise; 1: as much as DDPM")] = None
    s_churn: Annotated[NotNegative | None, _of("s_churn", "churn, over all steps")] = None
    s_tmin: Annotated[NotNegative | None, _of("s_tmin", "lowest sigma / alpha to churn")] = None
    s_tmax: Annotated[NotNegative | None, _of("s_tmax", "highest sigma / alpha to churn")] = None
    s_noise: Annotated[NotNegative | None, _of("s_noise", "size of churn's noise")] = None

    def options(self) -> dict[str, float | None]:
        return {name: getattr(self, name) for name in sampling.OPTIONS}

    def fill(self, request: Request, run: RunView) -> Self:
        own, options = run.experiment.sampling, self.options()
        sampler = self.sampler or own.sampler
        if sampler not in SAMPLERS:
            raise InputError(f"sampler '{sampler}' is unknown: choose one of {', '.join(SAMPLERS)}")
        sampling.check_options(Sampling(sampler=sampler, **options), flag)
        if sampler == own.sampler:
            options = {n: getattr(own, n) if x is None else x for n, x in options.items()}
        times = self.times or (own.times if self.steps is None and not self.spacing else ())
        found = replace(
            self,
            sampler=sampler,
            steps=own.steps if self.steps is None else self.steps,
            spacing=self.spacing or own.spacing,
            times=tuple(times),
            **options,
        )
        if times:
            found = replace(found, steps=sampling.steps(found), spacing=None)
        return replace(found, **sampling.with_defaults(found))

    def controls(self, request: Request, run: RunView) -> dict[str, Any]:
        return {"noise_scale": run.experiment.sampling.noise_scale}

    def check(self, request: Request, run: RunView) -> None:
        T = run.model.process.T
        if not self.times and not 1 <= self.steps <= T:
            raise InputError(
                f"--steps is {self.steps}: expected 1 to {T}, the steps of the process"
            )


def settings(request: Request) -> Sampling:
    """What the request samples by."""
    asked = request.sampler
    return Sampling(
        sampler=asked.sampler,
        steps=asked.steps,
        spacing=asked.spacing,
        times=asked.times,
        guidance=request.guidance.guidance,
        **asked.options(),
    )


def times_of(request: Request, run: RunView) -> np.ndarray:
    """All times that a request visits, [K + 1], those that it visits again included."""
    times = sampling.times(settings(request), run.model.process)
    for section in request:
        times = section.visited(times)
    return times
