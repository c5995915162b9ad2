"""By which first stage latents become images, in the end and on the way."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Self

import tyro

from ldm_jax import runs
from ldm_jax.diffusion.samplers.loop import Watch
from ldm_jax.errors import InputError
from ldm_jax.sampling import tiled
from ldm_jax.sampling.generate import Shown
from ldm_jax.sampling.sampler import times_of
from ldm_jax.sections import Request, RunView, Section, flag
from ldm_jax.types import FirstStage, Params


@dataclass(frozen=True)
class Decoding(Section):
    """By which first stage images are decoded, in the end and on the way."""

    key: ClassVar[str] = "decoding"

    needs: ClassVar = {"preview_with": "preview_every"}
    excludes: ClassVar = {"preview_every": ("resample",)}  # which goes back on the way

    decode_with: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """run of a first stage on the same latents, such as a tiny autoencoder, in place of the
    model's own decoder"""
    preview_every: int | None = None
    """steps from one preview, the predicted x0 in DIR/previews, to the next"""
    preview_with: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """run of a first stage, such as a tiny autoencoder, for these; the decoder where not given"""

    def check(self, request: Request, run: RunView) -> None:
        every, K = self.preview_every, len(times_of(request, run)) - 1
        if every is not None and not 1 <= every <= K:
            raise InputError(
                f"--preview-every is {every}: expected 1 to {K}, the steps that are taken"
            )
        for name in ("preview_with", "decode_with"):
            if other := getattr(self, name):
                _check_latents(flag(name), other, run)

    def load(self, request: Request, run: RunView, own: Params) -> tuple[Shown, Params]:
        """How images are decoded, and the params that it takes beside the model's.

        Args:
            own: params of the model's first stage.
        """
        if self.preview_every is None and not self.decode_with:
            return Shown(), {}
        decoder, tile = None, request.size.tile
        preview, params = run.model.first_stage, {"preview": own}
        if self.decode_with:
            decoder, params["decoder"] = load(self.decode_with, own)
            preview, params["preview"] = decoder, params["decoder"]
        if self.preview_with:
            preview, params["preview"] = load(self.preview_with, own)
        if tile:
            decoder = decoder and tiled.tiled(decoder, tile)
            preview = tiled.tiled(preview, tile)
        every, K = self.preview_every, len(times_of(request, run)) - 1
        watched = (preview, Watch(every, K // every)) if every else (None, None)
        return Shown(decoder, *watched), params

    def describe(self, request: Request, run: RunView) -> list[str]:
        lines = [f"decoded by '{self.decode_with}'"] * bool(self.decode_with)
        if self.preview_every is not None:
            by = f" by '{self.preview_with}'" if self.preview_with else ""
            lines.append(f"previews every {self.preview_every} steps{by}")
        return lines

    def alone(self, request: Request, i: int) -> Self:
        return replace(self, preview_every=None, preview_with=None)


def _check_latents(flag: str, other: str, run: RunView) -> None:
    """Raises InputError for the run of a first stage of other latents."""
    stage = runs.find_first_stage(Path(other)).model
    for what, here, there in (
        ("channels", run.channels, stage.channels),
        ("pixels a latent", run.factor, stage.factor),
    ):
        if here != there:
            raise InputError(
                f"{flag} '{other}' reads latents of {there} {what}: expected {here}, as those of "
                f"run '{run.run}' have"
            )


def load(run: str, own: Params) -> tuple[FirstStage, Params]:
    """The first stage of a run, and its weights as they decode latents scaled as in `own`.

    A tiny autoencoder reads latents as the model does, see `autoencoders/tiny.py`; the run of any
    other first stage on the same latents has no scale, or measured its own.
    """
    found = runs.with_weights(runs.find_first_stage(Path(run)))
    if found.experiment.model.scaled_latents:
        return found.model, found.params
    return found.model, {**found.params, "shift": own["shift"], "scale": own["scale"]}
