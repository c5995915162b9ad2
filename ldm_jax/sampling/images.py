"""How many images are drawn, and of which seeds."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

import tyro

from ldm_jax.errors import InputError
from ldm_jax.experiments.train import check_batch
from ldm_jax.sampling.generate import AT_ONCE, at_once
from ldm_jax.sections import Request, RunView, Section, seeds
from ldm_jax.settings import AtLeast1

MOST = 2**31  # images: each has a seed of 32 bits


@dataclass(frozen=True)
class Images(Section):
    """Which images; image i belongs to seed S + i alone, whatever the batch size."""

    key: ClassVar[str] = "images"
    last: ClassVar[bool] = True
    exportable: ClassVar[tuple[str, ...]] = ("num", "batch_size", "seed", "turn")

    num: AtLeast1 | None = None
    """how many; one for each prompt, label or held-out image, or 16, where not given"""
    batch_size: int | None = None
    """images that are drawn at once; 16, or fewer where there are fewer, where not given"""
    seed: int = 0
    """seed S of the first image"""
    turn: Annotated[int, tyro.conf.Fixed] = 0
    """place of the first image among prompts, labels and files, which are cycled"""

    def fill(self, request: Request, run: RunView) -> Self:
        options = request.options()
        first = (options.get("interpolate"), options.get("from_data"))
        counts = (*first, *(section.count() for section in request))
        num = next(filter(None, counts), AT_ONCE) if self.num is None else self.num
        batch_size = at_once(num) if self.batch_size is None else self.batch_size
        return replace(self, num=num, batch_size=batch_size)

    def check(self, request: Request, run: RunView) -> None:
        if self.num > MOST:
            raise InputError(f"--num is {self.num}: expected at most {MOST}")
        if not 0 <= self.seed < 2**32 - self.num:
            raise InputError(f"--seed is {self.seed}: expected 0 to {2**32 - self.num - 1}")
        check_batch(self.batch_size, "--batch-size")

    def alone(self, request: Request, i: int) -> Self:
        seed = int(seeds(request)[i])
        return replace(self, num=1, seed=seed, turn=self.turn + i)
