"""What the command line tools share: reading configs, overriding fields, reporting bad input."""

import contextlib
import dataclasses
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NoReturn,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import tyro

from ldm_jax.errors import InputError, shortened
from ldm_jax.runs.config_file import load_cascade as load_cascade
from ldm_jax.runs.config_file import load_config as load_config
from ldm_jax.runtime import interrupt
from ldm_jax.runtime.compilation import use_cache
from ldm_jax.runtime.terminal import Terminal, reason_of, status_of
from ldm_jax.settings import check_folder as check_folder
from ldm_jax.settings import check_ranges, did_you_mean, flag, ranges

T = TypeVar("T")
S = TypeVar("S")
COMPLETION, SHELLS = "--print-completion", ("bash", "zsh")
EITHER = " or ".join(SHELLS)


def main(tool: Callable[[Sequence[str]], None]) -> None:
    """Runs a tool on the command line's words; what stops it is one line.

    Status 2 for bad input, 1 for numbers that are no longer finite and for what cannot be written,
    143 where a training run was asked to end and has saved its state, 130 for Ctrl-C, 141 where
    what it prints is read no more. Anything else is a defect, whose trace is printed.
    """
    streams = Terminal(sys.stdout), Terminal(sys.stderr)
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            interrupt.give_grace()
            quiet()
            use_cache()
            tool(sys.argv[1:])
        except KeyboardInterrupt:
            interrupt.end()
        except Exception as error:
            status = status_of(error)
            if status is None:
                raise
            _stop(reason_of(error), status)
        finally:
            sys.stdout.flush()


def _stop(text: str, status: int) -> NoReturn:
    if Path(sys.argv[0]).name != "train.py":  # whose options the settings of data are
        text = re.sub(r"--(data\.[a-z_-]+)", lambda found: found[1].replace("-", "_"), text)
    print("error:", *text.splitlines(), file=sys.stderr)
    sys.exit(status)


def quiet() -> None:
    """Keeps the libraries' chatter off the terminal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name in ("absl", "asyncio"):  # the latter of each array of a checkpoint that failed
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="orbax|tensorflow_datasets")
    sys.unraisablehook = _said_already(sys.unraisablehook)


def _said_already(hook: Callable) -> Callable:
    """Leaves out what comes after a failed checkpoint, of each array that was being written."""

    def tell(lost):
        if str(lost.exc_value) != "Event loop is closed":
            hook(lost)

    return tell


def places(words: Sequence[str], names: str, prog: str) -> tuple[list[str], list[str]]:
    """The words that come first, named as in "RUN OUT", and the options that follow them.

    With --help or --print-completion the former are not needed, and empty.

    Raises:
        InputError: fewer words than names.
    """
    count = len(names.split())
    found = [word for word in words[:count] if not word.startswith("-")]
    if len(found) == count:
        return found, list(words[count:])
    if not {"--help", "-h"} & set(words) and not option(words, COMPLETION, EITHER)[0]:
        raise InputError(f"expected python {prog} {names} [options], see --help")
    return [""] * count, list(words[len(found) :])


def override(
    default: T,
    words: Sequence[str],
    prog: str,
    description: str = "",
    sections: bool = True,
    elsewhere: Callable[[list[str]], None] = lambda words: None,
) -> T:
    """A frozen dataclass with fields replaced by `--section.field VALUE`; a flag needs no value.

    --help prints a table of them and exits, --print-completion a script by which bash or zsh
    completes them.

    Args:
        prog: the tool's name and the words that come first, as in "ema.py RUN OUT".
        sections: False leaves them out of the options, and has them only in the help.
        elsewhere: called with unknown words, may say where they are known.

    Raises:
        InputError: an unknown field or a value of the wrong type.
    """
    shell, words = option(words, COMPLETION, EITHER)
    hints = _hints(default, sections)
    if shell:
        print_completion(shell, prog.split()[0], {"": default}, sections)
    if {"--help", "-h"} & set(words):
        print(f"{description}\n{COMPLETION} SHELL prints a script that completes the options.\n")
    config = [tyro.conf.AvoidSubcommands, tyro.conf.SuppressFixed]
    config += [] if sections else [tyro.conf.OmitArgPrefixes]
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            result, unknown = tyro.cli(
                type(default),
                default=default,
                args=_without_values(words, {name for name, x in hints.items() if x is bool}),
                prog=prog,
                description=" ",
                return_unknown_args=True,
                config=config,
            )
    except SystemExit as stop:
        if not stop.code:
            raise  # --help
        raise InputError(_wrong_value(_first_paragraph(message.getvalue()))) from None
    if unknown:
        elsewhere(unknown)
        word = unknown[0]
        if not word.startswith("--"):
            expected = "--section.field VALUE" if sections else "--option VALUE"
            raise InputError(f"'{word}' is one word too many: expected {expected}")
        typed = word.split("=")[0]
        known = did_you_mean(typed.replace("_", "-"), [f"--{x}" for x in hints])
        raise InputError(f"{typed} is not a setting{known}")
    if not sections:
        check_ranges(result, named=lambda name: flag(name.rpartition(".")[2]))
    return result


def arguments(
    default: T, words: Sequence[str], names: str, prog: str, description: str
) -> tuple[list[str], T]:
    """The words that come first and a tool's options; see `places` and `override`."""
    found, rest = places(words, names, f"scripts/{prog}")
    return found, override(default, rest, f"{prog} {names}", description, sections=False)


def override_both(
    tool: T, settings: S, words: Sequence[str], prog: str, description: str = ""
) -> tuple[T, S]:
    """A tool's own options and settings, read together; see `override`."""
    kinds = [("tool", type(tool)), ("settings", type(settings))]
    fields = [(name, Annotated[kind, tyro.conf.arg(name="")]) for name, kind in kinds]
    both = dataclasses.make_dataclass("Options", fields, frozen=True)
    found = override(both(tool, settings), words, prog, description)
    return found.tool, found.settings


def print_completion(
    shell: str, tool: str, options: Mapping[str, Any], sections: bool = False
) -> NoReturn:
    """Prints a script for bash and zsh that completes a tool's options, and their values where
    these have names; exits.

    Args:
        options: by what the tool does, which is a word before them; "": it does one thing.
    """
    if shell not in SHELLS:
        raise InputError(f"{COMPLETION} is '{shell}': expected {EITHER}")
    flags, values = "", ""
    for name, default in options.items():
        hints = _hints(default, sections)
        flags += f"    '{name}') words='{' '.join(f'--{x}' for x in [*hints, 'help'])}';;\n"
        for option, hint in hints.items():
            if found := _values(hint):
                values += f"    '{name} --{option}') words='{' '.join(map(str, found))}';;\n"
    names, any_of = " ".join(options), "|".join(map(repr, options))
    name = Path(tool).stem
    print(_COMPLETION.format(name=name, names=names, any=any_of, flags=flags, values=values))
    sys.exit(0)


_COMPLETION = """\
if [ -n "$ZSH_VERSION" ]; then autoload -U +X compinit bashcompinit; compinit; bashcompinit; fi
_ldm_jax_{name}() {{
  local what='' words='{names}' word
  for word in "${{COMP_WORDS[@]}}"; do case "$word" in {any}) what=$word; break;; esac; done
  case "$what" in
{flags}  esac
  case "$what $3" in
{values}  esac
  COMPREPLY=($(compgen -W "$words" -- "$2"))
}}
_ldm_jax_python() {{
  local tool="_ldm_jax_$(basename "${{COMP_WORDS[1]}}" .py)"
  type "$tool" > /dev/null 2>&1 && "$tool" "$@"
}}
complete -o default -F _ldm_jax_{name} {name}.py
complete -o default -F _ldm_jax_python python python3"""


def _values(hint: Any) -> tuple[Any, ...]:
    """The values of a Literal or `OneOf`, or of one among others."""
    found = get_args(hint) if get_origin(hint) is Literal else ()
    found = found or tuple(name for one in ranges(hint) for name in getattr(one, "names", ()))
    return found or tuple(value for one in get_args(hint) for value in _values(one))


def _without_values(words: Sequence[str], flags: Set[str]) -> list[str]:
    """`--flag True` as `--flag`, and `--flag False` as `--no-flag`."""
    result, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if equals and not value:
            raise InputError(f"{name} has no value: expected one")
        if not name.startswith("--") or name[2:] not in flags:
            result.append(word)
            continue
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("-") else "True"
        if value not in ("True", "False"):
            raise InputError(f"{name} is '{value}': expected 'True', 'False' or nothing after it")
        section, dot, field = name[2:].rpartition(".")
        result.append(name if value == "True" else f"--{section}{dot}no-{field}")
    return result


def option(
    words: Sequence[str], name: str, expected: str = "a folder"
) -> tuple[str | None, list[str]]:
    """Takes `name VALUE` or `name=VALUE` out of the words."""
    words = list(words)
    for i, word in enumerate(words):
        given, equals, value = word.partition("=")
        if given == name:
            rest = words[i + 1 :]
            if not equals:
                value, *rest = rest or [""]
            if not value or value.startswith("-"):
                raise InputError(f"{name} has no value: expected {expected}")
            return value, words[:i] + rest
    return None, words


def _hints(default: Any, sections: bool) -> dict[str, Any]:
    """The types of options by name."""
    return {name if sections else name.rpartition(".")[2]: x for name, x in _fields(default)}


def _fields(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names of fields as the command line spells them, dotted, and their types."""
    hints = get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        name = prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            unnamed = any(getattr(x, "name", None) == "" for x in getattr(hint, "__metadata__", ()))
            yield from _fields(value, prefix if unnamed else f"{name}.")
        elif isinstance(value, tuple) and any(dataclasses.is_dataclass(one) for one in value):
            for i, one in enumerate(value):
                yield from _fields(one, f"{name}.{i}.")
        else:
            yield name, hint


def _wrong_value(text: str) -> str:
    """tyro's message about a value that is not of its field's type, in our words."""
    if missing := re.match(r"Missing value for argument '(\S+)'", text):
        return f"{missing[1]} has no value: expected one"
    if named := re.match(
        r"Error parsing (\S+): no type .*\{(?:None,)?(.*)\} could .*\['(.*)'\]", text
    ):
        given, names, value = named.groups()
        return f"{given} is '{value}'{did_you_mean(value, names.replace(' ', '').split(','))}"
    found = re.match(r"Error parsing (\S+): .*?(\bint\b|\bINT\b|float|FLOAT).*'(.*)'", text)
    if not found:
        return text
    given, kind, value = found.groups()
    expected = {"int": "a whole number", "float": "a number"}[kind.lower()]
    return f"{given} is '{value}': expected {expected}"


def _first_paragraph(box: str) -> str:
    """The first paragraph inside a box drawn on a terminal, in ASCII or not, as one line."""
    lines = [line.strip("│ ") for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()[1:]]
    paragraph = []
    for line in lines:
        is_rule = set(line) <= set("─-╰╯")
        if is_rule and paragraph:
            break
        paragraph += [] if is_rule else [line]
    return shortened(" ".join(paragraph), 1000)
