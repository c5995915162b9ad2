"""What the command line tools share: reading configs, overriding fields, reporting bad input."""

import contextlib
import dataclasses
import errno
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import tyro

from ldm_jax.errors import InputError, StoppedError
from ldm_jax.runs.config_file import load_config as load_config
from ldm_jax.runtime.compilation import use_cache
from ldm_jax.settings import check_folder as check_folder
from ldm_jax.settings import did_you_mean

T = TypeVar("T")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # of a disk that takes no more


def main(tool: Callable[[Sequence[str]], None]) -> None:
    """Runs a tool on the command line's words; what stops it is one line.

    Status 2 for bad input, 1 for numbers that are no longer finite and for what cannot be written,
    143 where a training run was asked to end and has saved its state, 130 for Ctrl-C.
    """
    quiet()
    use_cache()
    try:
        tool(sys.argv[1:])
    except InputError as error:
        _stop(error, 2)
    except FloatingPointError as error:
        _stop(error, 1)
    except StoppedError as error:
        _stop(error, error.status)
    except OSError as error:
        if error.errno not in FULL:
            raise
        _stop(error, 1)
    except KeyboardInterrupt:
        _stop("interrupted", 130)


def _stop(why: object, status: int) -> NoReturn:
    print("error:", *str(why).splitlines(), file=sys.stderr)
    sys.exit(status)


def quiet() -> None:
    """Keeps the libraries' chatter off the terminal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="orbax|tensorflow_datasets")
    sys.excepthook = _told_already(sys.excepthook)


def _told_already(hook: Callable) -> Callable:
    """Leaves out what comes after a failed checkpoint, of each array that was being written."""

    def tell(kind, error, trace):
        if str(error) != "Event loop is closed":
            hook(kind, error, trace)

    return tell


def override(
    default: T,
    words: Sequence[str],
    prog: str,
    description: str | None = None,
    sections: bool = True,
) -> T:
    """A frozen dataclass with fields replaced by `--section.field VALUE`.

    Args:
        sections: False leaves them out of the options, and has them only in the help.

    Raises:
        InputError: an unknown field or a value of the wrong type.
    """
    complaint = io.StringIO()
    config = [tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff]
    config += [] if sections else [tyro.conf.OmitArgPrefixes]
    try:
        with contextlib.redirect_stderr(complaint):
            result, unknown = tyro.cli(
                type(default),
                default=default,
                args=list(words),
                prog=prog,
                description=description,
                return_unknown_args=True,
                config=config,
            )
    except SystemExit as stop:
        if not stop.code:
            raise  # --help
        raise InputError(_wrong_value(_first_paragraph(complaint.getvalue()))) from None
    if unknown:
        word = unknown[0]
        names = field_names(default)
        flags = [f"--{name if sections else name.rpartition('.')[2]}" for name in names]
        if not word.startswith("--"):
            expected = "--section.field VALUE" if sections else "--option VALUE"
            raise InputError(f"'{word}' is one word too many: expected {expected}")
        flag = word.split("=")[0].replace("_", "-")
        raise InputError(f"{word} is not a setting{did_you_mean(flag, flags)}")
    return result


def option(
    words: Sequence[str], name: str, expected: str = "a folder"
) -> tuple[str | None, list[str]]:
    """Takes `name VALUE` or `name=VALUE` out of the words."""
    words = list(words)
    for i, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag == name:
            rest = words[i + 1 :]
            if not equals:
                value, *rest = rest or [""]
            if not value or value.startswith("-"):
                raise InputError(f"{name} has no value: expected {expected}")
            return value, words[:i] + rest
    return None, words


def field_names(config: Any, prefix: str = "") -> list[str]:
    """The dotted names of all fields, as the command line spells them."""
    names = []
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name.replace("_", "-")
        names += field_names(value, f"{name}.") if dataclasses.is_dataclass(value) else [name]
    return names


def _wrong_value(complaint: str) -> str:
    """What tyro says of a value that is not of its field's type, in our words."""
    found = re.match(r"Error parsing (\S+): .*?(\bint\b|\bINT\b|float|FLOAT).*'(.*)'", complaint)
    if not found:
        return complaint
    flag, kind, value = found.groups()
    expected = {"int": "a whole number", "float": "a number"}[kind.lower()]
    return f"{flag} is '{value}': expected {expected}"


def _first_paragraph(box: str) -> str:
    """The first paragraph inside a box drawn on a terminal, in ASCII or not, as one line."""
    lines = [line.strip("│ ") for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()[1:]]
    paragraph = []
    for line in lines:
        is_rule = set(line) <= set("─-╰╯")
        if is_rule and paragraph:
            break
        paragraph += [] if is_rule else [line]
    return " ".join(paragraph)
