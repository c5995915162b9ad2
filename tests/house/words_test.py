"""The field's words, instead of those that this project used before."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from tests.house.source import PAGES, ROOT, assert_none, parsed

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
    r"in turn": "cycled, one after the other",
    r"pieces": "tokens, parts",
    r"answers?|answered": "output, encoding",
    r"(ask|asks|asked) (the|a|an) (network|model|denoiser|classifier)": "predict",
    r"grids? of times|times? grids?": "timestep spacing",
}
# of names, in which other words may be plain English
NAMES = re.compile(r"\b((un)?told|heard|towers?|pictures?|walks?|everyones?|weighed|hideable)\b")
PATTERN = re.compile(rf"\b({'|'.join(RETIRED)})\b", re.IGNORECASE)
BLANK = (tokenize.COMMENT, tokenize.NL)
STATEMENT = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)
TEXT = (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))


def prose(python: str, messages: bool = True) -> str:
    """Comments and docstrings of a file, and its other strings of more than one word where
    `messages`; single words are names of entries, params or options."""
    texts, starts = [], True  # whether a statement starts here
    for token in tokenize.generate_tokens(io.StringIO(python).readline):
        alone = token.type == tokenize.COMMENT or (starts and token.type == tokenize.STRING)
        if token.type in TEXT and (alone or messages) and " " in token.string.strip():
            texts.append(token.string)
        if token.type not in BLANK:
            starts = token.type in STATEMENT
    return "\n".join(texts)


def retired(text: str) -> list[str]:
    return [match.group(0).lower() for match in PATTERN.finditer(" ".join(text.split()))]


def python_files() -> list[Path]:
    """All but this one, which lists the words."""
    folders = ("ldm_jax", "configs", "scripts", "benchmarks", "tests")
    files = [path for name in folders for path in (ROOT / name).rglob("*.py")]
    return [path for path in [*ROOT.glob("*.py"), *files] if path != Path(__file__)]


def texts() -> dict[Path, str]:
    """The prose of every page and Python file. Strings of tests are data."""
    found = {
        path: prose(path.read_text(), messages=ROOT / "tests" not in path.parents)
        for path in python_files()
    }
    return found | {path: path.read_text() for path in PAGES}


def test_no_retired_word_is_read():
    found = {
        f"{path.relative_to(ROOT)}: {word}"
        for path, text in texts().items()
        for word in retired(text)
    }
    assert_none("words", found)


def defined(tree: ast.AST) -> set[str]:
    """Names that a file gives: of functions, classes, arguments, fields and variables."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.arg():
                found.add(node.arg)
            case ast.Name(ctx=ast.Store()):
                found.add(node.id)
    return found


def test_no_retired_word_is_in_a_name():
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in python_files()
        for name in defined(parsed(path))
        if NAMES.search(name.replace("_", " "))
    }
    assert_none("names", found)


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
    assert retired(prose('batch["picture"]')) == []
    assert retired(prose('f("a picture")')) == ["picture"]
    assert retired(prose('f("a picture")', messages=False)) == []
