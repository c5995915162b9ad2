"""Size of images, and what makes large ones need less memory."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import tyro

from ldm_jax.errors import InputError
from ldm_jax.sampling import tiled
from ldm_jax.sampling.patchwise import patchwise
from ldm_jax.sections import Request, RunView, Section


@dataclass(frozen=True)
class Size(Section):
    """Size of the images, and what needs less memory."""

    key: ClassVar[str] = "size"
    exportable: ClassVar[tuple[str, ...]] = ("size", "param_dtype")

    size: Annotated[tuple[int, ...], tyro.conf.arg(metavar="H W")] = ()
    """height and width in pixels, where not those of training"""
    tile: int | None = None
    """latents a side of the tiles that are decoded one by one"""
    patch: int | None = None
    """latents a side of the overlapping patches that are denoised one by one"""
    param_dtype: Literal["float32", "bfloat16"] | None = None
    """of the weights; bfloat16 takes half of the memory. The computation stays as it was"""

    def check(self, request: Request, run: RunView) -> None:
        self.check_size(run)
        tiled.check(self.tile)
        if self.patch is None:
            return
        each = run.multiple // run.factor
        if self.patch < 2 or self.patch % each:
            raise InputError(
                f"--patch is {self.patch}: expected a multiple of {each} latents, at least 2"
            )
        for condition in run.conditions:
            if condition.of_whole_image:
                raise InputError(
                    f"--patch is {self.patch}: leave it out, since {condition.kind} are of a whole "
                    "image"
                )

    def check_size(self, run: RunView) -> None:
        """Raises InputError for a size that the networks cannot have."""
        size, multiple = self.size, run.multiple
        if size and (len(size) != 2 or min(size) < 1 or any(side % multiple for side in size)):
            given = " ".join(map(str, size))
            raise InputError(
                f"--size is {given}: expected height and width, multiples of {multiple}, the "
                "factor by which first stage and network downsample"
            )

    def wrap(self, model: Any, request: Request, run: RunView) -> Any:
        if self.tile:
            model = model._replace(first_stage=tiled.tiled(model.first_stage, self.tile))
        return patchwise(model, self.patch) if self.patch else model

    def describe(self, request: Request, run: RunView) -> list[str]:
        lines = [f"weights of {self.param_dtype}"] if self.param_dtype else []
        if self.tile:
            size = run.size(self.size)
            lines.append(tiled.describe(run.model.first_stage, *size, self.tile))
        return lines
