"""Captions through one text encoder; here a transformer that is trained jointly with the denoiser
(Rombach et al. 2022, section 4.3.1)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from tokenizers import Tokenizer

from ldm_jax.conditioning.condition import BuildContext, Condition, DataInfo
from ldm_jax.conditioning.prompts import Prompts
from ldm_jax.encoders.text_encoder import TextEncoder
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.encoders.transformer import TextTransformer, transformer_encoder
from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1, AtLeast3, Fraction, MoreThan4
from ldm_jax.types import Cond, Conditioner
from ldm_jax.weights.names.condition import ConditionNames, conditioner
from ldm_jax.weights.names.text import text_transformer
from ldm_jax.weights.table import Table

ENTRY = "tokens"  # of a batch
TABLE = ("token", "embedding")  # of every encoder's params, where the embeddings of tokens are


@dataclass(frozen=True)
class Text(Condition):
    """Captions through a transformer trained jointly (the original's text-to-image encoder)."""

    dim: AtLeast1 = 1280  # width of the tokens
    layers: AtLeast1 = 32  # transformer blocks
    num_heads: AtLeast1 = 8  # attention heads
    head_dim: AtLeast1 = 64  # width of a head
    length: AtLeast3 = 77  # tokens
    # at most, learned from the captions; the tokenizer's own once known
    vocab_size: MoreThan4 | None = 4096
    # a tokenizer.json or BERT's vocab.txt to use; None: learned, kept in the run
    tokenizer: str | None = None
    pooled: bool = False  # the tokens' mean is a vector as well; set model.vector_dim, too
    drop: Fraction = 0.1  # share of captions dropped in training
    compute: Literal["float32", "bfloat16"] = "float32"  # but for sums, norms and softmax

    kind: ClassVar = "captions"
    reads: ClassVar = (ENTRY,)
    has_weights: ClassVar = True
    square_only: ClassVar = False
    sections: ClassVar = (Prompts,)
    # where a run that was converted without one gets it
    tokenizer_files: ClassVar = (
        "tokenizer.json or vocab.txt of bert-base-uncased for the published models"
    )

    @property
    def text_encoders(self) -> Mapping[str, Any]:
        return {ENTRY: self}

    @property
    def token_tables(self) -> Mapping[str, tuple[str, ...]]:
        return {ENTRY: TABLE}

    @property
    def vector_width(self) -> int | None:
        return self.dim if self.pooled else None

    @property
    def token_width(self) -> int | None:
        return self.dim

    def heads(self, prefix: str) -> list[tuple[str, int]]:
        return [(f"{prefix}num_heads", self.num_heads)]

    def fitted(self, info: DataInfo, prefix: str = "") -> Condition:
        check_captioned(info)
        return self

    def build(self, context: BuildContext) -> Conditioner:
        """Reads `batch["tokens"]` [B, n] int32; the empty caption is the unconditional one.

        With `pooled` the pooled embedding is a vector as well, by which a caption reaches every
        block as the timestep does.
        """
        encoder = self.encoder(context.tokenizers[ENTRY])

        def apply(params, inputs):
            found = encoder.apply(params, inputs[ENTRY])
            vector = found.pooled if self.vector_width else None
            return Cond(tokens=found.tokens, vector=vector, mask=found.mask)

        return Conditioner(
            apply=apply,
            null=lambda n, h=1, w=1: {ENTRY: encoder.null(n)},
            keys=(ENTRY,),
            init=encoder.init,
            trained=not self.frozen,
        )

    def names(self, channels: int) -> ConditionNames:
        return conditioner(self.table(), tokens=self.dim)

    def with_vocabulary(self, sizes: Mapping[str, int]) -> Condition:
        return replace(self, vocab_size=sizes.get(ENTRY, self.vocab_size))

    def takes(self, size: tuple[int, int]) -> str:
        return "--prompt TEXT"

    # as a text encoder, of these captions alone or among several

    def encoder(self, tokenizer: Tokenizer) -> TextEncoder:
        """The text encoder."""
        network = TextTransformer(self, tokenizer.get_vocab_size())
        return transformer_encoder(network, tokens.encode(tokenizer, ""))

    def table(self) -> Table:
        """What the original calls the encoder's weights."""
        return text_transformer(self)

    def load_tokenizer(self, path: str | Path) -> Tokenizer:
        """A tokenizer in a file, for the encoder."""
        return tokens.load(path, self.length)

    def given_tokenizer(self, path: Path | None) -> Tokenizer | None:
        """That of a file, or the published one; None: neither is there."""
        return path and self.load_tokenizer(path)

    def find_tokenizer(
        self, start: tuple["Text", Path] | None, captions: Callable[[], list[str]]
    ) -> Tokenizer:
        """The tokenizer for training, where the run has none: given, inherited, or learned.

        Args:
            start: settings of the same encoder, and its tokenizer's file, in the run from whose
                weights training starts; None: there is none.
            captions: reads those of the data.
        """
        if self.tokenizer:
            return self.load_tokenizer(self.tokenizer)
        if start:  # whose weights know its tokens alone
            return start[0].load_tokenizer(start[1])
        if self.vocab_size is None:
            raise InputError(
                "vocab_size of Text is None: expected the number of tokens to learn, or a "
                "tokenizer.json as its tokenizer"
            )
        return tokens.learn(captions(), self.vocab_size, self.length)


def check_captioned(info: DataInfo) -> None:
    """Raises InputError where data have no captions."""
    if not info.has_captions:
        raise InputError(
            f"conditions has Text but the data has no captions: {info.absent['text']}; or use "
            "conditions=(Label(),)"
        )


def check_published(encoder: Text, prefix: str, vocab_size: int) -> None:
    """Raises InputError unless the heads of a published encoder share its width, and its tokens are
    counted.

    Args:
        vocab_size: the published one.
    """
    if encoder.num_heads * encoder.head_dim != encoder.dim:
        raise InputError(
            f"{prefix}num_heads is {encoder.num_heads} and {prefix}head_dim "
            f"{encoder.head_dim}: expected their product to be {prefix}dim, {encoder.dim}"
        )
    if encoder.vocab_size is None:
        raise InputError(f"{prefix}vocab_size is None: expected a number, such as {vocab_size}")
