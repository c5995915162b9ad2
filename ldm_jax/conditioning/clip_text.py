"""Captions through CLIP's text encoder, which is not trained (Stable Diffusion)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from tokenizers import Tokenizer

from ldm_jax.conditioning.text import Text, check_width
from ldm_jax.encoders.clip.text import TextTower, clip_encoder
from ldm_jax.encoders.text_encoder import TextEncoder
from ldm_jax.encoders.tokenizers import clip
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1, MoreThan4
from ldm_jax.weights.names import clip as names
from ldm_jax.weights.table import Table


@dataclass(frozen=True)
class CLIPText(Text):
    """Captions through CLIP's text encoder, which is not trained; defaults are Stable Diffusion
    1's.

    Version 2 has weights="openclip", dim=1024, layers=23 (of 24: the last is not used) and
    num_heads=16.
    """

    dim: AtLeast1 = 768  # width of the tokens
    layers: AtLeast1 = 12  # transformer blocks
    num_heads: AtLeast1 = 12  # attention heads
    head_dim: AtLeast1 = 64  # dim / num_heads
    vocab_size: MoreThan4 | None = 49_408  # tokens that there are
    weights: Literal["openai", "openclip"] = "openai"  # whose: activation, padding, names in files

    frozen: ClassVar = True
    can_pool: ClassVar = False

    def check(self, prefix: str) -> None:
        check_width(self, prefix)
        if self.pooled:
            raise InputError(f"{prefix}pooled is True: expected False, CLIP's tokens have no mean")
        if self.vocab_size is None:
            raise InputError(f"{prefix}vocab_size is None: expected a number, CLIP's is 49408")

    def encoder(self, tokenizer: Tokenizer) -> TextEncoder:
        tower = TextTower(
            vocab_size=self.vocab_size,
            dim=self.dim,
            layers=self.layers,
            heads=self.num_heads,
            length=self.length,
            weights=self.weights,
        )
        return clip_encoder(tower, tokens.encode(tokenizer, ""))

    def table(self) -> Table:
        return names.text_tower(self)

    def given_tokenizer(self, path: Path | None) -> Tokenizer | None:
        published = self.vocab_size == clip.PIECES and clip.has_packaged()
        return clip.load(path, self.length, self.weights) if path or published else None

    def find_tokenizer(
        self,
        kept: Path | None,
        start: tuple[Text, Path] | None,
        captions: Callable[[], list[str]],
    ) -> Tokenizer:
        if kept:
            return self.load_tokenizer(kept)
        if start and not self.tokenizer and start[1].exists():
            return start[0].load_tokenizer(start[1])
        return clip.load(self.tokenizer, self.length, self.weights)
