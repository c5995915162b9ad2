"""Rows of images between latents of a first stage that is a generative model by itself."""

from dataclasses import dataclass
from typing import ClassVar

from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView, Section


@dataclass(frozen=True)
class Rows(Section):
    """Rows of images between two latents."""

    key: ClassVar[str] = "rows"

    interpolate: int | None = None
    """images a row, between the latents of two seeds"""

    def count(self) -> int | None:
        return 4 * self.interpolate if self.interpolate else None

    def check(self, request: Request, run: RunView) -> None:
        if self.interpolate is None:
            return
        if self.interpolate < 2:
            raise InputError(f"--interpolate is {self.interpolate}: expected at least 2, both ends")
        if request.latents.latents:
            raise InputError("--interpolate and --latents both say which latents: leave one out")
        if request.images.num % self.interpolate:
            raise InputError(
                f"--num is {request.images.num}: expected a multiple of --interpolate, which is "
                f"{self.interpolate}"
            )
