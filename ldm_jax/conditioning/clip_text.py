"""Captions through CLIP's text encoder, which is frozen or fine-tuned (Stable Diffusion)."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from tokenizers import Tokenizer

from ldm_jax.conditioning.prompts import Prompts, all_prompts
from ldm_jax.conditioning.text import ENTRY, Text, check_published
from ldm_jax.diffusion.model import with_conditioner
from ldm_jax.encoders.clip.text import CLIPTextEncoder, clip_encoder
from ldm_jax.encoders.text_encoder import TextEncoder
from ldm_jax.encoders.tokenizers import clip, prompt_weights
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView, Section, flag
from ldm_jax.settings import AtLeast1, MoreThan4
from ldm_jax.types import Batch
from ldm_jax.weights.names import clip as names
from ldm_jax.weights.names import diffusers_model
from ldm_jax.weights.names.condition import ABSENT, CONDITIONER, DiffusersFacts, DiffusersParts
from ldm_jax.weights.table import Table


@dataclass(frozen=True)
class Reading(Section):
    """How CLIP's text encoder reads prompts."""

    key: ClassVar[str] = "reading"

    emphasis: bool = False
    """brackets weight words: (word) is 1.1, (word:1.3) is 1.3, [word] is 1 / 1.1"""
    long_prompts: bool = False
    """read prompts beyond the encoder's limit, in chunks"""
    clip_skip: int | None = None
    """which layer from the end is attended to; 1, the last that training used, where not given"""

    @classmethod
    def refusal(cls, option: str, value: Any, run: RunView) -> str:
        return (
            f"{flag(option)} is {value}: leave it out, since it is for CLIP's text encoder, and "
            f"this is a model of {run.kind} without it"
        )

    def check(self, request: Request, run: RunView) -> None:
        layers = run.condition(Reading).layers
        if self.clip_skip is not None and not 1 <= self.clip_skip <= layers:
            raise InputError(
                f"--clip-skip is {self.clip_skip}: expected 1, the last layer that the model was "
                f"trained with, to {layers}, the first"
            )
        if self.emphasis:
            for prompt in all_prompts(request):
                prompt_weights.parse(prompt)

    @property
    def is_chunked(self) -> bool:
        """Whether prompts are encoded in weighted chunks."""
        return self.emphasis or self.long_prompts

    def chunk_count(self, request: Request, run: RunView) -> int:
        """Chunks of the longest prompt, which all prompts have; 1 where the rest is cut."""
        if not self.long_prompts:
            return 1
        tokenizer, prompts = run.tokenizers[ENTRY], ("", *all_prompts(request))
        return max(prompt_weights.count_chunks(tokenizer, p, self.emphasis) for p in prompts)

    def chunks(self, run: RunView, request: Request, prompts: Sequence[str]) -> Batch:
        """Tokens of prompts and their weights, each [n, chunks, length]."""
        k, tokenizer = self.chunk_count(request, run), run.tokenizers[ENTRY]
        each = [prompt_weights.chunks(tokenizer, p, self.emphasis, k) for p in prompts]
        ids, weights = map(np.stack, zip(*each, strict=True))
        return {ENTRY: ids, "token_weights": weights}

    def wrap(self, model: Any, request: Request, run: RunView) -> Any:
        if self.clip_skip not in (None, 1):
            own = run.condition(Reading)
            fewer = replace(own, layers=own.layers - self.clip_skip + 1)
            model = run.rebuild(tuple(fewer if one is own else one for one in run.conditions))
        if not self.is_chunked:
            return model
        count = self.chunk_count(request, run)
        return with_conditioner(model, prompt_weights.chunked(model.conditioner, count))

    def describe(self, request: Request, run: RunView) -> list[str]:
        lines = ["brackets in prompts weight words"] * self.emphasis
        if self.clip_skip not in (None, 1):
            lines.append(f"captions by layer {self.clip_skip} of the text encoder from its end")
        if self.long_prompts:
            return [*lines, f"prompts of {self.chunk_count(request, run)} chunks"]
        most = run.condition(Reading).length - 2
        for prompt in dict.fromkeys(all_prompts(request)):
            found = len(prompt_weights.pieces(run.tokenizers[ENTRY], prompt, self.emphasis)[0])
            if found > most:
                lines.append(
                    f"of the {found} tokens of '{prompt[:40]}...' {most} are read (--long-prompts "
                    "reads all)"
                )
        return lines


@dataclass(frozen=True)
class CLIPText(Text):
    """Captions through CLIP's text encoder; defaults are Stable Diffusion 1's.

    Version 2 has weights="openclip", dim=1024, layers=23 (of 24: the last is not used) and
    num_heads=16.
    """

    dim: AtLeast1 = 768  # width of the tokens
    layers: AtLeast1 = 12  # transformer blocks
    num_heads: AtLeast1 = 12  # attention heads
    head_dim: AtLeast1 = 64  # dim / num_heads
    vocab_size: MoreThan4 | None = 49_408  # tokens that there are
    weights: Literal["openai", "openclip"] = "openai"  # whose: activation, padding, names in files
    frozen: bool = True  # False: it trains with the denoiser, as DreamBooth does

    sections: ClassVar = (Prompts, Reading)
    tokenizer_files: ClassVar = (
        "tokenizer.json or merges.txt of CLIP, or the package instant-clip-tokenizer"
    )

    def check(self, prefix: str) -> None:
        check_published(self, prefix, clip.PIECES)
        if self.pooled:
            raise InputError(
                f"{prefix}pooled is True: expected False, CLIP's tokens have no mean; "
                "Captions(encoders=(CLIPText(),), pooled=(0,)) pools a caption's end"
            )

    def encoder(self, tokenizer: Tokenizer) -> TextEncoder:
        sizes = self.vocab_size, self.dim, self.layers, self.num_heads, self.length
        return clip_encoder(CLIPTextEncoder(*sizes, self.weights), tokens.encode(tokenizer, ""))

    def table(self) -> Table:
        return names.text_encoder(self)

    def diffusers(self) -> DiffusersParts:
        return DiffusersParts(
            "StableDiffusionPipeline",
            {"text_encoder": ("", names.transformers_names(self))},
            ("tokenizer",),
            {"text_encoder/config.json": diffusers_model.text_config(self)},
            {"feature_extractor": ABSENT, "safety_checker": ABSENT},
        )

    def named_as(self, keys: Collection[str]) -> "CLIPText":
        layouts = {"openai": "transformer.text_model.embeddings.", "openclip": "model."}
        table = "token_embedding.weight"
        found = [name for name, at in layouts.items() if f"{CONDITIONER}{at}{table}" in keys]
        return replace(self, weights=found[0]) if len(found) == 1 else self

    @classmethod
    def of_diffusers(cls, facts: DiffusersFacts) -> "CLIPText | None":
        text = facts.components.get("text_encoder")
        return cls(**diffusers_model.read_text(text)) if text else None

    def given_tokenizer(self, path: Path | None) -> Tokenizer | None:
        published = self.vocab_size == clip.PIECES and clip.has_packaged()
        return clip.load(path, self.length, self.weights) if path or published else None

    def find_tokenizer(
        self, start: tuple[Text, Path] | None, captions: Callable[[], list[str]]
    ) -> Tokenizer:
        if start and not self.tokenizer and start[1].exists():
            return start[0].load_tokenizer(start[1])
        return clip.load(self.tokenizer, self.length, self.weights)
