"""The exceptions whose message is one line for who called a tool."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LONG_WORD = re.compile(r"\S{500,}")


class InputError(ValueError):
    """Bad input. Its message is one line: the value, what was expected and the remedy.

    The command line tools print the message on standard error and exit with status 2. Words of
    hundreds of characters lose their middle.
    """

    def __init__(self, message: object):
        super().__init__(LONG_WORD.sub(lambda word: shortened(word[0]), str(message)))


class StoppedError(RuntimeError):
    """A correct run that cannot continue, in one line, with an exit status.

    Status 1 where something failed that somebody must mend, such as a full disk; 143 where the run
    was terminated (SIGTERM), and the same command resumes.
    """

    def __init__(self, message: str, status: int = 1):
        super().__init__(message)
        self.status = status


@contextlib.contextmanager
def reading(what: str, expected: str) -> Iterator[None]:
    """Makes one line of whatever keeps a file from being read.

    json, csv, numpy and zipfile raise anything for a damaged file: errors of values, of types, of
    syntax, of recursion, of memory.

    Args:
        what: is read, "'FILE'" or "--option 'FILE'".
        expected: in its place, and the remedy.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{what} cannot be read ({reason(error)}): expected {expected}") from error


def reason(error: BaseException, limit: int = 240) -> str:
    """The message of an exception in one line; its name where it has none."""
    return shortened(" ".join(str(error).split()) or type(error).__name__, limit)


def others(more: int, of: int | None = None) -> str:
    """How many there are beside one that is named, such as " (and 3 others of 9)"; "" for none."""
    total = f" of {of}" if of else ""
    return f" (and {more} {'others' if more > 1 else 'other'}{total})" if more else ""


def shortened(text: str, limit: int = 240) -> str:
    """A text that is longer than the limit without its middle."""
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} ... {text[-half:]}"


def read_json(path: Path) -> dict[str, Any]:
    """The object of names and values in a file; anything else: InputError."""
    expected = "an object of names and values in JSON; fetch or copy it again"
    with reading(f"'{path}'", expected):
        found = json.loads(path.read_text("utf-8-sig"))
    if not isinstance(found, dict):
        raise InputError(f"'{path}' is {str(found)[:40]}: expected {expected}")
    return found
