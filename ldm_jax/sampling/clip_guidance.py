"""A CLIP of noised images that guides, in pixel space."""

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np
import tyro

from ldm_jax.conditioning.prompts import Prompts
from ldm_jax.diffusion.guidance.classifier import classifier as guided
from ldm_jax.diffusion.guidance.classifier import classify, similarity
from ldm_jax.encoders.clip import noised
from ldm_jax.encoders.clip.noised import NoisedCLIPModel
from ldm_jax.encoders.tokenizers import clip as clip_tokens
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.sampling.generate import Guide
from ldm_jax.sections import Request, RunView, Section, turns
from ldm_jax.settings import Finite
from ldm_jax.types import Batch, Denoise, Params, Process, Sampler
from ldm_jax.weights.formats.files import read_weights
from ldm_jax.weights.names import glide as names
from ldm_jax.weights.table import State, rearranged, refuse, shapes_of
from ldm_jax.weights.table import mismatches as wrong

FILES = {"vision": "clip_image_enc.pt", "text": "clip_text_enc.pt"}
HEAD = 64  # channels of a head, which shapes do not tell


@dataclass(frozen=True)
class CLIPGuidance(Section):
    """A CLIP of noised images that guides to --prompt (Nichol et al. 2022, section 2.4)."""

    key: ClassVar[str] = "clip"
    needs: ClassVar = {"clip_scale": "clip"}

    clip: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """folder with clip_image_enc.pt and clip_text_enc.pt of GLIDE"""
    clip_scale: Finite | None = None
    """how much it guides, 3 where not given"""

    @classmethod
    def fits(cls, run: RunView) -> bool:
        return Prompts in run.sections and run.model.first_stage.limit is not None

    def fill(self, request: Request, run: RunView) -> Self:
        if not self.clip:
            return self
        of = recognised(read(self.clip))
        height, width = run.size(request.size.size)
        T = run.model.process.T
        if (height, width, T) != (of.size, of.size, of.timesteps):
            raise InputError(
                f"--clip '{self.clip}' knows images of {of.size} x {of.size} pixels at "
                f"{of.timesteps} levels of noise: expected {width} x {height} at {T}, as the model "
                "draws"
            )
        return replace(self, clip_scale=3.0 if self.clip_scale is None else self.clip_scale)

    def each(self, request: Request, run: RunView) -> Batch:
        if not self.clip:
            return {}
        length = recognised(read(self.clip)).length
        tokenizer = clip_tokens.load(None, length, "openclip")
        found = np.stack([tokens.encode(tokenizer, x) for x in request.prompts.prompt or ("",)])
        scale = np.full(request.images.num, self.clip_scale, np.float32)
        captions = found[turns(request) % len(found)]
        return {"guides.captions": captions, "guides.clip_scale": scale}

    def guide(self, request: Request, run: RunView, params: Params) -> tuple[Guide | None, Params]:
        if not self.clip:
            return None, {}
        of, own = self.load()
        return towards_captions(of, run.model.process), own

    def load(self) -> tuple[NoisedCLIPModel, Params]:
        """The model and its weights, as part of the params."""
        states = read(self.clip)
        of = recognised(states)
        tables = {"vision": names.noised_image_encoder(of), "text": names.noised_text_encoder(of)}
        for part, table in tables.items():
            found = wrong(table, shapes_of(states[part]))
            refuse(found, f"'{Path(self.clip) / FILES[part]}' is not of GLIDE's noised CLIP")
        return of, {"clip": {part: rearranged(tables[part], states[part]) for part in tables}}

    def describe(self, request: Request, run: RunView) -> list[str]:
        return [f"CLIP {self.clip}, scale {self.clip_scale:g}"] if self.clip else []


def towards_captions(clip: NoisedCLIPModel, process: Process) -> Guide:
    """Guidance by a CLIP of noised images, of params["clip"], to given["captions"] [B, n] int32 by
    given["clip_scale"] [B]."""

    def guide(denoise: Denoise, params: Params, given: Batch, solver: Sampler) -> Denoise:
        caption = noised.embed_captions(clip, params["clip"], given["captions"])

        def embed(z, t):
            return classify(partial(noised.embed_images, clip, params["clip"]), process, z, t)

        alike = similarity(embed, caption, clip.logit_scale)
        return guided(denoise, process, alike, given["clip_scale"], solver.reads_score)

    return guide


def read(folder: str) -> dict[str, State]:
    """The weights of both encoders."""
    if not Path(folder).is_dir():
        raise InputError(
            f"--clip '{folder}' is no folder: expected one with {' and '.join(FILES.values())}"
        )
    return {part: read_weights(Path(folder) / name) for part, name in FILES.items()}


def recognised(states: dict[str, State]) -> NoisedCLIPModel:
    """The model whose weights have these shapes.

    Raises:
        InputError: they are of something else.
    """
    vision, text = (states[part] for part in ("vision", "text"))
    absent = [key for key in ("patch_proj", "w_t", "w_pos") if f"blocks.input.{key}" not in vision]
    absent += [key for key in ("w_voc", "w_pos") if f"blocks.input.{key}" not in text]
    absent += ["f.w"] * any("blocks.output.f.w" not in state for state in (vision, text))
    if absent:
        raise InputError(
            f"--clip has no {absent[0]}: expected GLIDE's {' and '.join(FILES.values())}"
        )
    channels, _, patch, _ = vision["blocks.input.patch_proj"].shape
    positions, width = len(vision["blocks.input.w_pos"]), text["blocks.input.w_voc"].shape[1]
    return NoisedCLIPModel(
        dim=len(vision["blocks.output.f.w"]),
        size=patch * round((positions - 1) ** 0.5),
        patch=patch,
        vision_channels=channels,
        vision_layers=_layers(vision),
        vision_heads=max(1, channels // HEAD),
        timesteps=len(vision["blocks.input.w_t"]),
        text_channels=width,
        text_layers=_layers(text),
        text_heads=max(1, width // HEAD),
        length=len(text["blocks.input.w_pos"]),
        vocab_size=len(text["blocks.input.w_voc"]),
    )


def _layers(state: State) -> int:
    return len(
        {found[1] for found in map(re.compile(r"blocks\.block_(\d+)\.").match, state) if found}
    )
