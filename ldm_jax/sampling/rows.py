"""Rows of images between latents of a first stage that is a generative model by itself."""

from dataclasses import dataclass
from typing import ClassVar

from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView, Section
from ldm_jax.settings import AtLeast2


@dataclass(frozen=True)
class Rows(Section):
    """Rows of images between two latents."""

    key: ClassVar[str] = "rows"
    excludes: ClassVar = {"interpolate": ("latents",)}

    interpolate: AtLeast2 | None = None
    """images a row, between the latents of two seeds"""

    def count(self) -> int | None:
        return 4 * self.interpolate if self.interpolate else None

    def check(self, request: Request, run: RunView) -> None:
        if self.interpolate is None:
            return
        if request.images.num % self.interpolate:
            raise InputError(
                f"--num is {request.images.num}: expected a multiple of --interpolate, which is "
                f"{self.interpolate}"
            )
