"""Captions through GLIDE's text transformer, which is trained with the denoiser (Nichol et al.
2022, section 2.3)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tokenizers import Tokenizer

from ldm_jax.conditioning.prompts import Lengths, Prompts
from ldm_jax.conditioning.text import Text, check_published
from ldm_jax.encoders.glide import PaddedTransformer, glide_encoder
from ldm_jax.encoders.text_encoder import TextEncoder
from ldm_jax.encoders.tokenizers import gpt2
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1, AtLeast3, Fraction, MoreThan4
from ldm_jax.weights.names.condition import ConditionNames
from ldm_jax.weights.names.glide import text_transformer
from ldm_jax.weights.table import Table


@dataclass(frozen=True)
class GLIDEText(Text):
    """Captions through GLIDE's text transformer; defaults are the published models'.

    All its tokens are attended to, padding as well, for which model.joint_attention is meant; the
    last one, projected, is added to the step's embedding.
    """

    dim: AtLeast1 = 512  # width of the tokens
    layers: AtLeast1 = 16  # transformer blocks
    length: AtLeast3 = 128  # tokens
    # the published tokens, or at most as many as are learned from the captions
    vocab_size: MoreThan4 | None = gpt2.PIECES
    # a folder with GPT-2's encoder.json and vocab.bpe, or a tokenizer.json; None: learned, unless
    # vocab_size is the published one
    tokenizer: str | None = None
    pooled: bool = True  # the last token is a vector as well
    vector_dim: AtLeast1 = 768  # of that vector: 4 model.channels
    drop: Fraction = 0.2  # share of captions dropped in training, as for guidance in the paper

    sections: ClassVar = (Prompts, Lengths)
    tokenizer_files: ClassVar = "a folder with encoder.json and vocab.bpe of GPT-2"

    @property
    def vector_width(self) -> int | None:
        return self.vector_dim

    def check(self, prefix: str) -> None:
        check_published(self, prefix, gpt2.PIECES)
        if not self.pooled:
            raise InputError(f"{prefix}pooled is False: expected True, the last token is added")

    def names(self, channels: int) -> ConditionNames:
        return ConditionNames(self.table(), tokens=self.dim, bare=True)

    def encoder(self, tokenizer: Tokenizer) -> TextEncoder:
        network = PaddedTransformer(self, tokenizer.get_vocab_size())
        return glide_encoder(network, tokens.encode(tokenizer, ""), tokens.padding(tokenizer))

    def table(self) -> Table:
        return text_transformer(self)

    def load_tokenizer(self, path: str | Path) -> Tokenizer:
        return gpt2.load(path, self.length)

    def find_tokenizer(
        self, start: tuple[Text, Path] | None, captions: Callable[[], list[str]]
    ) -> Tokenizer:
        if self.tokenizer or start:
            return super().find_tokenizer(start, captions)
        if self.vocab_size == gpt2.PIECES:
            raise InputError(
                f"tokenizer of GLIDEText is None: expected {self.tokenizer_files}, or a smaller "
                "vocab_size, of which as many tokens are learned from the captions"
            )
        return gpt2.learn(captions(), self.vocab_size, self.length)
