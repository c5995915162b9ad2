"""Guidance: how far images go towards their condition."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import tyro

from ldm_jax.diffusion.sampling import ScheduleName
from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView, Section


@dataclass(frozen=True)
class Guidance(Section):
    """How far images go towards their condition (classifier-free guidance)."""

    key: ClassVar[str] = "guidance"
    exportable: ClassVar[tuple[str, ...]] = ("guidance",)
    renamed: ClassVar = {"threshold": "dynamic_threshold"}

    guidance: float | None = None
    """scale; 1: none; as the run's config has it where not given"""
    guidance_rescale: float | None = None
    """0 to 1, how much of the standard deviation that guidance adds is taken back (Lin et al.
    2024)"""
    guidance_interval: Annotated[tuple[float, ...], tyro.conf.arg(metavar="LOW HIGH")] = ()
    """noise levels, sigma / alpha, between which there is guidance (Kynkaanniemi et al. 2024)"""
    guidance_schedule: ScheduleName | None = None
    """of the scale over time, its mean as asked (Wang et al. 2024); constant where not given"""
    dynamic_threshold: float | None = None
    """largest absolute value of a latent, such as 3 (Saharia et al. 2022, dynamic thresholding)"""

    def fill(self, request: Request, run: RunView) -> Self:
        guidance = run.experiment.sampling.guidance if self.guidance is None else self.guidance
        schedule = self.guidance_schedule or "constant"
        return replace(self, guidance=guidance, guidance_schedule=schedule)

    def check(self, request: Request, run: RunView) -> None:
        scale, rescale, levels = self.guidance, self.guidance_rescale, self.guidance_interval
        if not math.isfinite(scale):
            raise InputError(f"--guidance is {scale}: expected a number, such as 1 for none")
        if rescale is not None and not 0.0 <= rescale <= 1.0:
            raise InputError(f"--guidance-rescale is {rescale}: expected 0 to 1")
        if levels and not (len(levels) == 2 and 0.0 <= levels[0] < levels[1]):
            given = " ".join(f"{level:g}" for level in levels)
            raise InputError(
                f"--guidance-interval is {given}: expected two levels of noise (sigma / alpha), "
                "the lower first, such as 0.3 3"
            )
        limit = self.dynamic_threshold
        if limit is not None and not limit > 0.0:
            raise InputError(
                f"--dynamic-threshold is {limit}: expected more than 0, such as 3 for latents"
            )
        self._check_guided(request, run)

    def _check_guided(self, request: Request, run: RunView) -> None:
        """Raises InputError for guidance that the model has not, or options that need it."""
        guided = self.guidance != 1.0 and run.model.conditioner.keys
        if guided and not all(one.has_null for one in run.conditions):
            raise InputError(
                f"--guidance is {self.guidance}: expected 1, since this model has no class for no "
                "label (its null is False)"
            )
        negative = "prompts" in request and request.prompts.negative_prompt
        options = {"--negative-prompt": bool(negative), **self.options()}
        for name in (name for name, given in options.items() if given and not guided):
            raise InputError(
                f"{name} does nothing without guidance: expected --guidance other than 1"
            )

    def options(self) -> dict[str, bool]:
        """The flags of what changes plain guidance, and whether it is given."""
        return {
            "--guidance-rescale": self.guidance_rescale is not None,
            "--guidance-interval": bool(self.guidance_interval),
            "--guidance-schedule": self.guidance_schedule != "constant",
        }

    def controls(self, request: Request, run: RunView) -> dict[str, Any]:
        return {
            "rescale": self.guidance_rescale,
            "interval": self.guidance_interval or None,
            "limit": self.dynamic_threshold,
        }

    def describe(self, request: Request, run: RunView) -> list[str]:
        schedule = self.guidance_schedule
        return [f"guidance {schedule} in time"] * (schedule != "constant")
