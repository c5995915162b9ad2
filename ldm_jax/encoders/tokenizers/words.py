"""New words of a tokenizer, each of which becomes several tokens (textual inversion).

All of it is in the tokenizer, and so in its `tokenizer.json`: a rule of its normalizer writes a
word as the names of its tokens, WORD_0 WORD_1 ..., which are added to the vocabulary. Upper and
lower case are as the tokenizer has them.
"""

import json
import re

from tokenizers import AddedToken, Tokenizer

from ldm_jax.errors import InputError


def add_word(tokenizer: Tokenizer, word: str, count: int) -> Tokenizer:
    """A tokenizer that makes `count` tokens of a word, numbered after those that there are."""
    plain = _normal(tokenizer, word)
    first, last = (r"[\w-]" if re.match(r"[\w-]", one) else None for one in (plain[0], plain[-1]))
    before, after = f"(?<!{first})" if first else "", f"(?!{last})" if last else ""
    rule = {
        "type": "Replace",
        # a word by itself, and not in the name of a token
        "pattern": {"Regex": rf"{before}{re.escape(plain)}{after}(?!_\d)"},
        "content": " ".join(f"{plain}_{i}" for i in range(count)),
    }
    settings = json.loads(tokenizer.to_str())
    own = settings["normalizer"]
    settings["normalizer"] = {"type": "Sequence", "normalizers": [*([own] if own else []), rule]}
    made = Tokenizer.from_str(json.dumps(settings))
    made.add_tokens([AddedToken(f"{word}_{i}", normalized=True) for i in range(count)])
    return made


def numbers(tokenizer: Tokenizer, word: str) -> tuple[int, ...]:
    """The numbers of the tokens of a word that was added; (): it was not."""
    found: list[int] = []
    while (number := tokenizer.token_to_id(f"{word}_{len(found)}")) is not None:
        found.append(number)
    return tuple(found)


def pieces(tokenizer: Tokenizer, text: str) -> list[int]:
    """The numbers of the tokens of a text, of any number and without start, end and padding."""
    whole = Tokenizer.from_str(tokenizer.to_str())
    whole.no_truncation()
    whole.no_padding()
    return whole.encode(text, add_special_tokens=False).ids


def is_word(tokenizer: Tokenizer, text: str) -> bool:
    """Whether a text is one token of the vocabulary, or a word that was added."""
    found = pieces(tokenizer, text)
    return bool(numbers(tokenizer, text)) or (
        len(found) == 1 and found[0] != tokenizer.token_to_id("[UNK]")
    )


def check_word(tokenizer: Tokenizer, text: str, name: str) -> None:
    """Raises InputError for what cannot be a new word; `name` is the setting's."""
    if not text or re.search(r"\s", text) or not _normal(tokenizer, text):
        raise InputError(f"{name} is {text!r}: expected a word without spaces, such as '<toy>'")


def _normal(tokenizer: Tokenizer, word: str) -> str:
    """A word as the tokenizer's normalizer writes it."""
    return tokenizer.normalizer.normalize_str(word) if tokenizer.normalizer else word
