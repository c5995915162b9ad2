"""Captions to token numbers."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from ldm_jax.errors import InputError

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def learn(captions: Iterable[str], vocab_size: int, length: int) -> Tokenizer:
    """A lower-case word-piece tokenizer for `captions`, in the manner of BERT's.

    Args:
        vocab_size: at most so many pieces.
        length: tokens a caption is padded or cut to, [CLS] and [SEP] included.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    ends = [(word, tokenizer.token_to_id(word)) for word in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    return fit(tokenizer, length)


def load(path: str | Path, length: int) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`.

    Raises:
        InputError: no such file, or not a tokenizer.
    """
    if not Path(path).is_file():
        raise InputError(f"tokenizer '{path}' does not exist: expected a tokenizer.json")
    try:
        return fit(Tokenizer.from_file(str(path)), length)
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"tokenizer '{path}' cannot be read: {error}") from error


def fit(tokenizer: Tokenizer, length: int) -> Tokenizer:
    """The same tokenizer, padding and cutting every caption to `length` tokens."""
    pad = tokenizer.token_to_id("[PAD]") or 0
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=pad)
    return tokenizer


def encode(tokenizer: Tokenizer, caption: str) -> np.ndarray:
    """Token numbers of one caption, [length] int32."""
    return np.asarray(tokenizer.encode(caption).ids, np.int32)
