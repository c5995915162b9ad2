"""CLIP's tokenizer: byte pairs of lower-case text (Radford et al. 2021, section 2.4)."""

import importlib.util
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

from ldm_jax.encoders.tokenizers import byte_pairs
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.encoders.tokenizers.byte_pairs import MERGES_FILE
from ldm_jax.errors import InputError, read_json, reading

START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
MERGES = 48_894  # of the published table, whose file has more than CLIP uses
PIECES = 2 * 256 + MERGES + 2
PACKAGE = "instant_clip_tokenizer"  # contains that table
TITLE = b"#version: 0.2\n"
BESIDE = ("vocab.json", "tokenizer_config.json", "added_tokens.json")  # a table of merges


def clip_tokenizer(
    merges: list[tuple[str, str]], vocabulary: dict[str, int] | None = None
) -> Tokenizer:
    """The tokenizer of a table of merges, the most frequent first.

    Token numbers, where not given: the 256 bytes, the same at the end of a word, the merges, and
    the start and end tokens that surround every caption.
    """
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that there is no PyTorch
    from transformers import CLIPTokenizer  # which takes a second to import

    pieces = byte_pairs.characters()
    pieces += [piece + WORD_END for piece in pieces]
    pieces += ["".join(pair) for pair in merges] + [START, END]
    vocabulary = vocabulary or {piece: number for number, piece in enumerate(pieces)}
    made = CLIPTokenizer(vocab=vocabulary, merges=merges).backend_tokenizer
    return Tokenizer.from_str(made.to_str())


def load(path: str | Path | None, length: int, weights: str) -> Tokenizer:
    """A tokenizer of `length` tokens a caption.

    Args:
        path: a `tokenizer.json` or a `merges.txt`; None: the published one.
        weights: "openai" pads captions with the end token, "openclip" with 0.

    Raises:
        InputError: no such file, or no tokenizer of CLIP.
    """
    if path is None:
        tokenizer = packaged()
    elif Path(path).suffix == ".txt" and Path(path).is_file():
        with reading(f"tokenizer '{path}'", MERGES_FILE):
            tokenizer = _beside(Path(path))
    else:
        tokenizer = tokens.load(path, length)
    end = tokenizer.token_to_id(END)
    if end is None:
        raise InputError(f"tokenizer '{path}' has no {END}: expected one of CLIP")
    return tokens.fit(tokenizer, length, pad=end if weights == "openai" else 0)


def _beside(merges: Path) -> Tokenizer:
    """The tokenizer of a table of merges, with the numbers in vocab.json beside it and the words,
    such as of textual inversion, in added_tokens.json or tokenizer_config.json.

    Raises:
        InputError: one of these is damaged, or a word has not the number after those before it.
    """
    files = {name: merges.with_name(name) for name in BESIDE}
    read = {name: read_json(file) if file.is_file() else {} for name, file in files.items()}
    vocabulary = read["vocab.json"] if END in read["vocab.json"] else None
    tokenizer = clip_tokenizer(byte_pairs.read_merges(merges, MERGES), vocabulary)
    decoder = read["tokenizer_config.json"].get("added_tokens_decoder") or {}
    added = {word["content"]: int(number) for number, word in decoder.items()}
    added |= read["added_tokens.json"]
    for word in sorted(added, key=added.get):
        if tokenizer.token_to_id(word) is None:
            tokenizer.add_tokens([AddedToken(word, normalized=False)])
        if tokenizer.token_to_id(word) != added[word]:
            raise InputError(
                f"the folder of '{merges}' gives the added token {word!r} the number "
                f"{added[word]}: expected {tokenizer.token_to_id(word)}, the next"
            )
    return tokenizer


def learn(captions: Iterable[str], vocab_size: int, length: int, weights: str) -> Tokenizer:
    """A tokenizer of the byte pairs that are frequent in `captions`, see `byte_pairs.frequent`.

    Args:
        vocab_size: the most tokens, of which 514 are bytes and marks.
        length, weights: see `load`.
    """
    bare = clip_tokenizer([])
    counts: Counter[str] = Counter(
        word
        for caption in captions
        for word, _ in bare.pre_tokenizer.pre_tokenize_str(bare.normalizer.normalize_str(caption))
    )
    words = {(*word[:-1], word[-1] + WORD_END): count for word, count in counts.items()}
    merges = byte_pairs.frequent(words, vocab_size - 2 * 256 - 2)
    made = clip_tokenizer(merges)
    return tokens.fit(made, length, pad=made.token_to_id(END) if weights == "openai" else 0)


def has_packaged() -> bool:
    """Whether the package with the published table is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def packaged() -> Tokenizer:
    """The published tokenizer, from the table in a package.

    Raises:
        InputError: the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    for place in found.submodule_search_locations if found else ():
        for library in sorted(Path(place).glob(f"{PACKAGE}*.so")):
            data = library.read_bytes()
            start = data.find(TITLE)
            if start >= 0:
                lines = data[start:].split(b"\n", MERGES + 1)[: MERGES + 1]
                return clip_tokenizer(byte_pairs.parse(b"\n".join(lines), MERGES))
    raise InputError(
        "there is no tokenizer of CLIP: expected --tokenizer FILE (in a config: tokenizer=FILE), "
        "the tokenizer.json or the merges.txt of the model, or the package instant-clip-tokenizer "
        "(pip install instant-clip-tokenizer)"
    )
