"""Guidance: how far images go towards their condition."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import tyro

from ldm_jax.diffusion.sampling import ScheduleName
from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView, Section, flag
from ldm_jax.settings import Finite, Fraction, Positive

CHANGES = ("guidance_rescale", "guidance_interval", "guidance_schedule")  # of plain guidance


@dataclass(frozen=True)
class Guidance(Section):
    """How far images go towards their condition (classifier-free guidance)."""

    key: ClassVar[str] = "guidance"
    exportable: ClassVar[tuple[str, ...]] = ("guidance",)
    renamed: ClassVar = {"threshold": "dynamic_threshold"}

    guidance: Finite | None = None
    """scale; 1: none; as the run's config has it where not given"""
    guidance_rescale: Fraction | None = None
    """0 to 1, how much of the standard deviation that guidance adds is taken back (Lin et al.
    2024)"""
    guidance_interval: Annotated[tuple[float, ...], tyro.conf.arg(metavar="LOW HIGH")] = ()
    """noise levels, sigma / alpha, between which there is guidance (Kynkaanniemi et al. 2024)"""
    guidance_schedule: ScheduleName = "constant"
    """of the scale over time, its mean as asked (Wang et al. 2024)"""
    dynamic_threshold: Positive | None = None
    """largest absolute value of a latent, such as 3 (Saharia et al. 2022, dynamic thresholding)"""

    def fill(self, request: Request, run: RunView) -> Self:
        guidance = run.experiment.sampling.guidance if self.guidance is None else self.guidance
        return replace(self, guidance=guidance)

    def check(self, request: Request, run: RunView) -> None:
        levels = self.guidance_interval
        if levels and not (len(levels) == 2 and 0.0 <= levels[0] < levels[1]):
            given = " ".join(f"{level:g}" for level in levels)
            raise InputError(
                f"--guidance-interval is {given}: expected two levels of noise (sigma / alpha), "
                "the lower first, such as 0.3 3"
            )
        guided = self.guidance != 1.0 and run.model.conditioner.keys
        if guided and not all(one.has_null for one in run.conditions):
            raise InputError(
                f"--guidance is {self.guidance}: expected 1, since this model has no class for no "
                "label (its null is False)"
            )
        given = self.given | (request.prompts.given if "prompts" in request else {})
        for name in given.keys() & {"negative_prompt", *CHANGES} if not guided else ():
            raise InputError(
                f"{flag(name)} does nothing without guidance: expected --guidance other than 1"
            )

    def controls(self, request: Request, run: RunView) -> dict[str, Any]:
        return {
            "rescale": self.guidance_rescale,
            "interval": self.guidance_interval or None,
            "limit": self.dynamic_threshold,
        }

    def describe(self, request: Request, run: RunView) -> list[str]:
        schedule = self.guidance_schedule
        return [f"guidance {schedule} in time"] * (schedule != "constant")
