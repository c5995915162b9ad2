"""Captions through CLIP's text encoder and its projection into the space of images (Ramesh et al.
2022, section 2)."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tokenizers import Tokenizer

from ldm_jax.conditioning.clip_text import CLIPText
from ldm_jax.conditioning.condition import Condition
from ldm_jax.conditioning.prompts import Lengths, Prompts
from ldm_jax.conditioning.text import ENTRY, Text
from ldm_jax.encoders.clip.text import with_projection
from ldm_jax.encoders.text_encoder import TextEncoder
from ldm_jax.settings import AtLeast1, Fraction, at_home
from ldm_jax.types import Params
from ldm_jax.weights.names import clip as names
from ldm_jax.weights.names.clip_file import read_encoder
from ldm_jax.weights.names.condition import DiffusersFacts

SIZES = ("dim", "layers", "num_heads", "vocab_size", "length", "weights", "embedding_dim")
WORDS = "tokenizer.json"


@dataclass(frozen=True)
class CLIPCaption(CLIPText):
    """Captions through CLIP's text encoder, not trained: the tokens up to a caption's end, and its
    embedding in the space of images as a vector. Defaults are ViT-L/14's, of Karlo."""

    embedding_dim: AtLeast1 = 768  # of the space that captions and images share
    # CLIP's weights, as transformers, OpenCLIP or OpenAI name them: a file, or a folder with one,
    # as scripts/convert.py makes of a run of a CLIP
    file: str | None = None
    # how often training drops the captions alone, of the examples that keep all else
    drop_alone: Fraction = 0.0

    from_file: ClassVar = True
    sections: ClassVar = (Prompts, Lengths)

    @property
    def vector_width(self) -> int | None:
        return self.embedding_dim

    @property
    def apart(self) -> Mapping[tuple[str, ...], float]:
        return {(ENTRY,): self.drop_alone} if self.drop_alone else {}

    def encoder(self, tokenizer: Tokenizer) -> TextEncoder:
        return with_projection(super().encoder(tokenizer), self.dim, self.embedding_dim)

    def published(self) -> Params:
        rows = functools.partial(names.captions, self, self.embedding_dim)
        return read_encoder(self.file, rows, "a text encoder", "file of CLIPCaption")

    def same_weights(self, other: Condition) -> bool:
        return all(getattr(other, name, None) == getattr(self, name) for name in SIZES)

    def find_tokenizer(
        self, start: tuple[Text, Path] | None, captions: Callable[[], list[str]]
    ) -> Tokenizer:
        beside = at_home(self.file) / WORDS if self.file else None
        if not (self.tokenizer or start) and beside and beside.is_file():
            return self.load_tokenizer(beside)
        return super().find_tokenizer(start, captions)

    @classmethod
    def of_diffusers(
        cls, facts: DiffusersFacts
    ) -> None:  # such folders have more; convert/karlo.py
        return None
