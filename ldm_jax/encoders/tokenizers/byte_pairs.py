"""Byte pair encoding of bytes, which CLIP's and GPT-2's tokenizers share (Sennrich et al. 2016)."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from ldm_jax.errors import reading

MERGES_FILE = "two tokens a line, as in the merges.txt of CLIP"


def characters() -> list[str]:
    """The characters that represent bytes: themselves where they are printable, others
    elsewhere."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    seen += range(ord("®"), ord("ÿ") + 1)
    hidden = 256 - len(seen)
    return [chr(code) for code in seen] + [chr(256 + n) for n in range(hidden)]


def frequent(words: Mapping[tuple[str, ...], int], count: int) -> list[tuple[str, str]]:
    """At most `count` pairs that are frequent in words, the most frequent first (algorithm 1 of the
    paper); of equally frequent ones the first in order, so that it is the same each time.

    Args:
        words: tokens of a word -> how often it occurs.
    """
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in words.items():
            for pair in pairwise(word):
                pairs[pair] += times
        if not pairs:
            break
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        words = {_merged(word, merges[-1]): times for word, times in words.items()}
    return merges


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """The tokens of a word with each occurrence of the pair merged."""
    pieces: list[str] = []
    for piece in word:
        if pieces and (pieces[-1], piece) == pair:
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return tuple(pieces)


def read_merges(path: Path, most: int) -> list[tuple[str, str]]:
    """The first `most` of the pairs in a `merges.txt` or `vocab.bpe`.

    Raises:
        InputError: it is no such table.
    """
    with reading(f"tokenizer '{path}'", MERGES_FILE):
        return parse(path.read_bytes(), most)


def parse(table: bytes, most: int) -> list[tuple[str, str]]:
    """The first `most` of a table that may have a title."""
    lines = table.decode("utf-8-sig").split("\n")
    pairs = [tuple(x.split()) for x in lines if x.strip() and "#version" not in x][:most]
    odd = next((pair for pair in pairs if len(pair) != 2), None)
    if odd or not pairs:
        raise ValueError(f"found {' '.join(odd) if odd else 'nothing'!r}")
    return pairs
