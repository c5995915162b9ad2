"""Images between prompts and between seeds, frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import tyro

from ldm_jax.conditioning.prompts import encoded, segments
from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView, Section
from ldm_jax.settings import AtLeast2
from ldm_jax.types import Batch


@dataclass(frozen=True)
class Interpolation(Section):
    """Images between prompts and between seeds."""

    key: ClassVar[str] = "interpolation"
    settles: ClassVar = {"interpolate": ("num", "turn")}
    needs: ClassVar = {"to_seed": "interpolate"}
    excludes: ClassVar = {"to_seed": ("latents", "invert")}
    renamed: ClassVar = {"frames": "interpolate", "to_seeds": "to_seed"}

    interpolate: Annotated[AtLeast2 | None, tyro.conf.arg(metavar="N")] = None
    """N images, evenly from each of the prompts to the next, in the space of their encoding, and
    from the seed to those of --to-seed; of a variational autoencoder: N images a row, between the
    latents of two seeds"""
    to_seed: Annotated[tuple[int, ...], tyro.conf.arg(metavar="S ...")] = ()
    """seeds, from the noise of each to that of the next on the sphere"""

    def count(self) -> int | None:
        return self.interpolate

    def check(self, request: Request, run: RunView) -> None:
        frames = self.interpolate
        if frames is None:
            return
        if len(_prompts(request)) < 2 and not self.to_seed:
            captions = "several of --prompt, or " if run.tokenizers else ""
            raise InputError(
                f"--interpolate is {frames}: expected {captions}--to-seed (rows between random "
                "latents are of a first stage that is a model by itself, such as configs/vae.py)"
            )
        left = frames - request.images.turn
        if request.images.num > left:
            raise InputError(
                f"--num is {request.images.num}, from frame {request.images.turn} on: expected at "
                f"most {left}, what is left of --interpolate {frames}"
            )
        self._check_others(request)

    def _check_others(self, request: Request) -> None:
        """Raises InputError for options that leave open which one the frames have."""
        several = {}
        if "prompts" in request:
            several["--negative-prompt"] = request.prompts.negative_prompt
        if "labels" in request:
            several["--label"] = request.labels.label
        for flag, given in several.items():
            if len(given) > 1:
                raise InputError(
                    f"{flag} names {len(given)} for --interpolate {self.interpolate}: expected one"
                )
        for seed in self.to_seed:
            if not 0 <= seed < 2**32:
                raise InputError(f"--to-seed is {seed}: expected 0 to {2**32 - 1}")

    def each(self, request: Request, run: RunView) -> Batch:
        if self.interpolate is None:
            return {}
        found, prompts = {}, _prompts(request)
        if len(prompts) > 1:
            segment, found["fraction"] = segments(request, len(prompts) - 1)
            end = encoded(run, request, prompts, segment + 1)
            found |= {f"to.{name}": x for name, x in end.items()}
        if self.to_seed:
            segment, found["seed_fraction"] = segments(request, len(self.to_seed))
            found["to_seeds"] = np.asarray(self.to_seed, np.uint32)[segment]
        return found

    def describe(self, request: Request, run: RunView) -> list[str]:
        if self.interpolate is None:
            return []
        prompts, seeds = _prompts(request), (request.images.seed, *self.to_seed)
        words = " to ".join(f"'{text}'" for text in prompts)
        paths = [f"prompt {words}"] * (len(prompts) > 1)
        paths += [f"seed {' to '.join(map(str, seeds))}"] * bool(self.to_seed)
        frames = f"{request.images.num} of {self.interpolate} frames"
        return [f"{frames} from {' and from '.join(paths)}"]


def _prompts(request: Request) -> Sequence[str]:
    return request.prompts.prompt if "prompts" in request else ()
