"""The field's words: none of those that this project used once in their place."""

import io
import re
import tokenize

import pytest

from tests.house.source import PAGES, PATHS, ROOT, TOOLS, assert_none_but_known

RETIRED = {  # pattern -> what to write
    r"(un)?told": "conditioned on, conditioning inputs; unconditional",
    r"heard|overheard": "precomputed; cached keys and values",
    r"what (\w+|an? \w+|the \w+) makes? of": "output, encoding, embedding of",
    r"pictures?": "image",
    r"towers?": "text encoder, image encoder",
    r"readers? of captions": "text encoder",
    r"hideable|hidden condition": "droppable",
    r"(a|the|each|every|one) walk|walks?|walk(ed|ing) (from|back)": "trajectory, interpolation",
    r"legs?": "segment",
    r"beliefs?|believes?": "predicted x0",
    r"network[ _]time|prior_std": "timestep, initial noise std",
    r"anew": "inpainted",
    r"stays? away from": "negative prompt",
    r"weighed": "weighted",
    r"so many": "N",
    r"everyones?": "all_gather",
    r"way back": "backward pass",
    r"complaints?": "mismatches",
    r"trunk": "backbone features",
    r"judges?|judged": "classifier",
}
PATTERN = re.compile(rf"\b({'|'.join(RETIRED)})\b", re.IGNORECASE)
TEXT = (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))


def prose(python: str) -> str:
    """Comments and strings of a file: docstrings, help, messages."""
    tokens = tokenize.generate_tokens(io.StringIO(python).readline)
    return "\n".join(token.string for token in tokens if token.type in TEXT)


def retired(text: str) -> list[str]:
    return [match.group(0).lower() for match in PATTERN.finditer(" ".join(text.split()))]


def test_no_retired_word_is_read():
    configs = (ROOT / "configs").rglob("*.py")
    texts = {path: prose(path.read_text()) for path in [*PATHS, *TOOLS, *configs]}
    texts |= {path: path.read_text() for path in PAGES}
    found = {
        f"{path.relative_to(ROOT)}: {word}"
        for path, text in texts.items()
        for word in retired(text)
    }
    assert_none_but_known("words", found)


@pytest.mark.parametrize(
    "text",
    [
        "the model is told",
        "two pictures",
        "CLIP's tower of images",
        "what the network makes\nof it",
    ],
)
def test_retired_words_are_found(text):
    assert retired(text)


def test_only_text_is_read():
    assert retired(prose("pictures = 1")) == []
    assert retired(prose('def f():\n    """Of pictures."""')) == ["pictures"]
    assert retired(prose("x = 1  # a picture")) == ["picture"]
