"""Tokenizers: captions to token numbers."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from ldm_jax.errors import InputError
from ldm_jax.settings import read_text

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def learn(captions: Iterable[str], vocab_size: int, length: int) -> Tokenizer:
    """A lower-case WordPiece tokenizer for `captions`, similar to BERT's.

    Args:
        vocab_size: the most tokens (exceeded only where there are more characters).
        length: tokens a caption is padded or cut to, [CLS] and [SEP] included.
    """
    captions = list(captions)
    tokenizer = _word_pieces({})
    words = {word for caption in set(captions) for word in _words(tokenizer, caption)}
    # The trainer numbers the characters inside words in the order of its hash table, which differs
    # between calls, and ties follow the numbers. Named in advance, they have an order.
    inside = [f"##{c}" for c in sorted({c for word in words for c in word[1:]})]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=SPECIAL + inside, show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    return fit(_with_ends(_word_pieces(tokenizer.get_vocab())), length)


def _with_ends(tokenizer: Tokenizer) -> Tokenizer:
    """The same with special tokens, two of which surround every caption."""
    tokenizer.add_special_tokens(SPECIAL)
    ends = [(word, tokenizer.token_to_id(word)) for word in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    return tokenizer


def _word_pieces(vocab: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _words(tokenizer: Tokenizer, caption: str) -> list[str]:
    text = tokenizer.normalizer.normalize_str(caption)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def load(path: str | Path, length: int) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`, or of the tokens in BERT's `vocab.txt`.

    Raises:
        InputError: no such file, or not a tokenizer.
    """
    if not Path(path).is_file():
        raise InputError(
            f"tokenizer '{path}' does not exist: expected a tokenizer.json or BERT's vocab.txt"
        )
    if Path(path).suffix == ".txt":
        return fit(_with_ends(_word_pieces(_read_vocabulary(path))), length)
    try:
        return fit(Tokenizer.from_str(read_text(path, "tokenizer")), length)
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"tokenizer '{path}' cannot be read: {error}") from error


def _read_vocabulary(path: str | Path) -> dict[str, int]:
    """The tokens of a file with one a line, numbered from 0."""
    pieces = [line.rstrip("\r") for line in read_text(path, "tokenizer").split("\n")]
    if pieces[-1] == "":
        pieces.pop()
    absent = [word for word in SPECIAL if word not in pieces]
    if absent:
        raise InputError(
            f"tokenizer '{path}' has no {absent[0]}: expected one token a line, as in the "
            "vocab.txt of bert-base-uncased"
        )
    return {piece: number for number, piece in enumerate(pieces)}


def fit(tokenizer: Tokenizer, length: int, pad: int | None = None) -> Tokenizer:
    """The same tokenizer, padding and cutting every caption to `length` tokens.

    Args:
        pad: the number to pad with; None: the tokenizer's own, or that of [PAD], or 0.
    """
    if pad is None:
        own = tokenizer.padding
        pad = own["pad_id"] if own else tokenizer.token_to_id("[PAD]") or 0
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=pad)
    return tokenizer


def padding(tokenizer: Tokenizer) -> int:
    """The number with which a fitted tokenizer pads captions."""
    return tokenizer.padding["pad_id"]


def encode(tokenizer: Tokenizer, caption: str) -> np.ndarray:
    """Token numbers of one caption, [length] int32."""
    return np.asarray(tokenizer.encode(caption).ids, np.int32)
