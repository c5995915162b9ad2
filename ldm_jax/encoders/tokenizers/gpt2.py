"""GPT-2's tokenizer as GLIDE uses it: byte pairs of lower-case text, without start and end (Radford
et al. 2019, section 2.2; Nichol et al. 2022, section 2.3)."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from ldm_jax.encoders.tokenizers import byte_pairs
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError, read_json

PADDING = "<|endoftext|>"  # which ends documents in GPT-2
MERGES = 50_000
PIECES = 256 + MERGES + 1  # the bytes, the merges, padding
FILES = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))  # OpenAI's, transformers'


def gpt2_tokenizer(
    merges: list[tuple[str, str]], vocabulary: dict[str, int] | None = None
) -> Tokenizer:
    """The tokenizer of a table of merges, the most frequent first.

    Token numbers, where not given: the 256 bytes, the merges, padding.
    """
    pieces = [*byte_pairs.characters(), *("".join(pair) for pair in merges), PADDING]
    vocabulary = vocabulary or {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def load(path: str | Path, length: int) -> Tokenizer:
    """A tokenizer that pads and cuts captions to `length` tokens.

    Args:
        path: a folder with encoder.json and vocab.bpe of GPT-2, one of these, or a tokenizer.json.

    Raises:
        InputError: no such files, or no tokenizer of GPT-2.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    pair = next((x for x in FILES if path.is_dir() or path.name in x), None)
    if path.is_dir() and not (folder / pair[0]).is_file():
        pair = FILES[1]
    if pair is None:
        tokenizer = tokens.load(path, length)
        tokenizer.normalizer = tokenizer.normalizer or normalizers.Lowercase()
    else:
        vocabulary, merges = (folder / name for name in pair)
        for file in (vocabulary, merges):
            if not file.is_file():
                raise InputError(f"tokenizer '{path}': expected {' and '.join(FILES[0])} there")
        tokenizer = _of(read_json(vocabulary), byte_pairs.read_merges(merges, MERGES), path)
    padding = tokenizer.token_to_id(PADDING)
    if padding is None:
        raise InputError(f"tokenizer '{path}' has no {PADDING}: expected one of GPT-2")
    return tokens.fit(tokenizer, length, padding)


def _of(vocabulary: dict[str, int], merges: list[tuple[str, str]], path: Path) -> Tokenizer:
    try:
        return gpt2_tokenizer(merges, vocabulary)
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"tokenizer '{path}' cannot be read: {error}") from error


def learn(captions: Iterable[str], vocab_size: int, length: int) -> Tokenizer:
    """A tokenizer of the byte pairs that are frequent in `captions`.

    Args:
        vocab_size: the most tokens, of which 257 are bytes and padding.
        length: see `load`.
    """
    bare = gpt2_tokenizer([])
    words = Counter(
        tuple(word)
        for caption in captions
        for word, _ in bare.pre_tokenizer.pre_tokenize_str(bare.normalizer.normalize_str(caption))
    )
    made = gpt2_tokenizer(byte_pairs.frequent(words, vocab_size - 257))
    return tokens.fit(made, length, made.token_to_id(PADDING))
