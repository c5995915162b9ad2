"""Images that start from an image: noised in part, inpainted, or from the noise behind it."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from ldm_jax.conditioning.inpainting import Masked
from ldm_jax.data import transforms
from ldm_jax.data.given import load_image, load_mask
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import SAMPLERS
from ldm_jax.diffusion.samplers.repaint import repaint, resampled
from ldm_jax.diffusion.sampling import Sampling
from ldm_jax.diffusion.spacing import later, least_strength
from ldm_jax.errors import InputError
from ldm_jax.sampling.sampler import settings, times_of
from ldm_jax.sections import Request, RunView, Section
from ldm_jax.settings import AtLeast1, Range
from ldm_jax.types import Batch

NOISELESS = ("plms", "lms", "dpmpp_2m", "dpmpp_2s", "dpmpp_3m", "unipc")  # whatever their options


Strength = Annotated[float, Range("more than 0, at most 1", lambda x: 0 < x <= 1)]


@dataclass(frozen=True)
class Start(Section):
    """An image to start from, or to inpaint."""

    key: ClassVar[str] = "start"
    settles: ClassVar = {"mask": ("strength",)}
    needs: ClassVar = {
        "mask": "init_image",
        "strength": "init_image",
        "invert": "init_image",
        "source": "invert",
        "resample": "mask",
        "jump_length": "resample",
    }

    # all times are visited from the noise behind the whole image
    excludes: ClassVar = {"invert": ("strength", "mask", "latents")}

    init_image: str | None = None
    """an image to start from, noised in part; or to inpaint"""
    mask: str | None = None
    """an image that is white where the first is inpainted"""
    strength: Strength | None = None
    """how much the image is noised, more than 0 to 1; 0.75 where not given, 1 with a mask (Meng et
    al. 2022, SDEdit)"""
    resample: AtLeast1 | None = None
    """with a mask, how often each few steps are taken, so that both parts fit (Lugmayr et al. 2022,
    RePaint)"""
    jump_length: AtLeast1 | None = None
    """how many steps those are; 10 where not given"""
    invert: bool = False
    """start from the noise behind the image, which is written to latents.npy (Song, Meng and Ermon
    2021, DDIM inversion)"""
    source: str | None = None
    """prompt or label of the image that is inverted; none where not given"""

    @classmethod
    def fits(cls, run: RunView) -> bool:
        return Masked not in run.sections

    def count(self) -> int | None:
        return 1 if self.invert else None

    def fill(self, request: Request, run: RunView) -> Self:
        found, strength = self, self.strength
        if self.init_image and not self.invert:
            found = replace(self, strength=strength or (1.0 if self.mask else 0.75))
        return replace(found, jump_length=found._jump_length(request, run))

    def _jump_length(self, request: Request, run: RunView) -> int | None:
        """How many steps RePaint takes again: the paper's 10, or all but one of fewer."""
        if self.resample is None:
            return None
        plain = request.with_section(replace(self, resample=None))
        K = len(times_of(plain, run)) - 1
        if (self.jump_length or 1) >= K:
            raise InputError(
                f"--jump-length is {self.jump_length or 1}: expected less than the {K} steps that "
                "are taken; raise --steps" + " or --strength" * (self.strength is not None)
            )
        return self.jump_length or min(10, K - 1)

    def check(self, request: Request, run: RunView) -> None:
        if not self.init_image:
            return
        if self.strength is not None:
            K = len(sampling.times(settings(request), run.model.process)) - 1
            if len(later(np.arange(K + 1), self.strength)) < 2:
                raise InputError(
                    f"--strength is {self.strength}: expected at least {least_strength(K):g}, one "
                    f"of the {K} steps"
                )
        load_image(self.init_image, "--init-image", run.data)
        if self.mask:
            load_image(self.mask, "--mask", run.data)
        if self.invert:
            self._check_invert(request, run)

    def _check_invert(self, request: Request, run: RunView) -> None:
        """Raises InputError where the noise behind an image would not lead back to it."""
        options = sampling.with_defaults(settings(request))
        sampler = request.sampler.sampler
        if sampler not in NOISELESS and not (options["eta"] == 0 or options["s_churn"] == 0):
            names = [name for name in ("eta", "s_churn") if options[name] is not None]
            remedy = f"--{names[0].replace('_', '-')} 0, or " if names else ""
            others = [name for name in SAMPLERS if noiseless(name)]
            raise InputError(
                f"--invert with {sampler}, which draws noise on the way, does not lead back to the "
                f"image: expected {remedy}one of {', '.join(others)}"
            )
        if self.source is not None and not any(section.has_source for section in request):
            raise InputError(
                f"--source '{self.source}' given to a model without captions and labels: leave it "
                "out"
            )
        self.inverted(request, run)

    def inverted(self, request: Request, run: RunView) -> Batch:
        """What the conditioner reads of the image that is inverted, each [num, ...]."""
        each = (section.of_source(self.source, request, run) for section in request)
        return {name: x for one in each for name, x in one.items()}

    def image(self, request: Request, run: RunView) -> np.ndarray:
        """The image to start from, [num, H, W, 3] in [-1, 1]."""
        image = load_image(self.init_image, "--init-image", run.data, request.size.size)
        return np.repeat(transforms.normalize(image)[None], request.images.num, axis=0)

    def each(self, request: Request, run: RunView) -> Batch:
        if not self.init_image or self.invert:
            return {}
        found = {"image": self.image(request, run)}
        if self.mask:
            mask = load_mask(self.mask, "--mask", run.data, request.size.size)
            found["mask"] = np.repeat(mask[None], request.images.num, axis=0)
        return found

    def visited(self, times: np.ndarray) -> np.ndarray:
        if self.strength is not None:
            times = later(times, self.strength)
        return resampled(times, self.jump_length, self.resample) if self.resample else times

    def solver(self, make: Any) -> Any:
        return (lambda **options: repaint(make(**options))) if self.resample else make

    def describe(self, request: Request, run: RunView) -> list[str]:
        lines = []
        if self.resample:
            K = len(times_of(request, run)) - 1
            lines.append(
                f"RePaint, {self.jump_length} steps at a time, each {self.resample} times: {K} in "
                "all"
            )
        if self.invert:
            of = f"'{self.source}'" if self.source is not None else "no condition"
            lines.append(f"from the noise behind {self.init_image} (DDIM inversion, {of})")
        return lines


def noiseless(sampler: str) -> bool:
    """Whether a sampler draws no noise unless asked to."""
    options = sampling.with_defaults(Sampling(sampler=sampler))
    return sampler in NOISELESS or options["eta"] == 0 or options["s_churn"] == 0
