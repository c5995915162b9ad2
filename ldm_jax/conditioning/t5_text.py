"""Captions through the encoder of a T5 1.1 that is not trained (Saharia et al. 2022, section 2.1).

Imagen and DeepFloyd IF read captions so, and Stable Diffusion 3 beside two CLIPs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tokenizers import Tokenizer

from ldm_jax.conditioning.condition import Condition
from ldm_jax.conditioning.text import Text
from ldm_jax.encoders.t5 import T5, t5_encoder
from ldm_jax.encoders.text_encoder import TextEncoder
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1, AtLeast3, MoreThan4
from ldm_jax.types import Params
from ldm_jax.weights.formats.diffusers_folder import weight_files, weights_of
from ldm_jax.weights.names import t5 as names
from ldm_jax.weights.table import Table, to_here

WEIGHTS = "model", "pytorch_model"  # what files of weights may be called
WORDS = "tokenizer.json"
SIZES = ("dim", "layers", "num_heads", "head_dim", "ff_dim", "vocab_size")


@dataclass(frozen=True)
class T5Text(Text):
    """Captions through the encoder of a T5 1.1 or Flan-T5; its weights become part of the run.

    Defaults are those of t5-v1_1-xxl. Other sizes have dim, layers, num_heads and ff_dim

        small   512  8  6 1024        base   768 12 12 2048
        large  1024 24 16 2816        xl    2048 24 32 5120
    """

    dim: AtLeast1 = 4096  # width of the tokens
    layers: AtLeast1 = 24  # transformer blocks
    num_heads: AtLeast1 = 64  # attention heads; with head_dim, their inner width may not be dim
    ff_dim: AtLeast1 = 10_240  # of the feed-forward layers
    length: AtLeast3 = 77  # tokens of a caption
    vocab_size: MoreThan4 | None = 32_128  # rows of the table of tokens
    # a folder as transformers saves a T5, with model.safetensors and tokenizer.json
    weights: str | None = None
    attend_padding: bool = False  # whether the denoiser attends to padding as well, as IF's does

    frozen: ClassVar = True
    from_file: ClassVar = True
    tokenizer_files: ClassVar = "tokenizer.json of T5"

    def check(self, prefix: str) -> None:
        if self.vocab_size is None:
            raise InputError(f"{prefix}vocab_size is None: expected a number, such as 32128")

    def published(self) -> Params:
        folder = self._folder()
        title = (
            f"'{folder}' has not the weights of this T5Text, set its dim, layers, num_heads, "
            "head_dim and ff_dim to what its config.json has"
        )
        state = weights_of(weight_files(folder, WEIGHTS))
        state = names.without_decoder(state, str(folder))
        return to_here(self.table(), state, (), title)

    def same_weights(self, other: Condition) -> bool:
        alike = all(getattr(other, name, None) == getattr(self, name) for name in SIZES)
        return isinstance(other, T5Text) and alike

    def encoder(self, tokenizer: Tokenizer) -> TextEncoder:
        empty, padding = tokens.encode(tokenizer, ""), tokens.padding(tokenizer)
        return t5_encoder(T5(self), empty, padding, self.attend_padding)

    def table(self) -> Table:
        return names.t5(self)

    def find_tokenizer(
        self, start: tuple[Text, Path] | None, captions: Callable[[], list[str]]
    ) -> Tokenizer:
        if start and self.same_weights(start[0]):
            return start[0].load_tokenizer(start[1])
        path = Path(self.tokenizer) if self.tokenizer else self._folder() / WORDS
        if not path.is_file():
            raise InputError(
                f"tokenizer '{path}' does not exist: expected T5's tokenizer.json, beside its "
                "weights or named by tokenizer of T5Text"
            )
        return self.load_tokenizer(path)

    def _folder(self) -> Path:
        if self.weights is None or not Path(self.weights).is_dir():
            raise InputError(
                f"weights of T5Text is {self.weights}: expected a folder with model.safetensors "
                f"and {WORDS}, as transformers saves a T5 1.1"
            )
        return Path(self.weights)
