"""How a command line tool reads its words, and how it ends."""

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Literal

import pytest

from ldm_jax import cli
from ldm_jax.errors import InputError


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("--num is 0:\nexpected 1"), 2, "error: --num is 0: expected 1"),
        (FloatingPointError("'loss' is nan"), 1, "error: 'loss' is nan"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
    ],
)
def test_what_stops_a_tool_is_one_line_and_a_status(error, status, line, monkeypatch, capsys):
    def tool(words):
        assert words == ["a", "b"]
        raise error

    monkeypatch.setattr(sys, "argv", ["tool.py", "a", "b"])
    with pytest.raises(SystemExit) as stop:
        cli.main(tool)
    assert stop.value.code == status
    assert capsys.readouterr().err == line + "\n"


def test_a_mistake_in_the_code_is_not_hidden(monkeypatch):
    def tool(words):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.main(tool)


@dataclass(frozen=True)
class Part:
    """A section."""

    flag: bool = True
    """on or off"""
    kind: Literal["one", "two"] = "one"
    """which"""


@dataclass(frozen=True)
class Options:
    """What a tool is asked."""

    invert: bool = False
    """a flag"""
    num: int = 1
    """how many"""
    part: Part = field(default_factory=Part)


def read(*words, sections=True):
    return cli.override(Options(), words, "tool.py RUN", "What it does.", sections)


@pytest.mark.parametrize(
    ("words", "invert", "flag"),
    [
        (["--invert"], True, True),
        (["--invert", "--num", "2"], True, True),
        (["--invert", "True", "--part.flag", "False"], True, False),
        (["--no-invert", "--part.no-flag"], False, False),
        (["--invert=True", "--part.flag=False"], True, False),
    ],
)
def test_flags_need_no_word_and_may_have_one(words, invert, flag):
    options = read(*words)
    assert (options.invert, options.part.flag) == (invert, flag)


def test_flags_without_their_section():
    assert not read("--flag", "False", sections=False).part.flag
    assert not read("--no-flag", sections=False).part.flag


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--invert=2"], "--invert is '2': expected 'True', 'False' or nothing after it"),
        (["--invert", "2"], "--invert is '2': expected 'True', 'False' or nothing after it"),
        (["2"], "'2' is one word too many: expected --section.field VALUE"),
        (["--num"], "--num has no value: expected one"),
        (["--num="], "--num has no value: expected one"),
        (["--inverted"], "--inverted is not a setting: did you mean '--invert'?"),
        (["--num", "x"], "--num is 'x': expected a whole number"),
        (["--print-completion", "fish"], "--print-completion is 'fish': expected bash or zsh"),
    ],
)
def test_bad_words(words, line):
    with pytest.raises(InputError) as error:
        read(*words)
    assert str(error.value) == line


def test_words_that_come_first():
    assert cli.places(["a", "b", "--num", "2"], "RUN OUT", "tool.py") == (
        ["a", "b"],
        ["--num", "2"],
    )
    assert cli.places(["a", "--help"], "RUN OUT", "tool.py") == (["", ""], ["--help"])
    for words in ([], ["a"], ["a", "--num", "2"]):
        with pytest.raises(InputError, match=r"^expected python tool.py RUN OUT \[options\]"):
            cli.places(words, "RUN OUT", "tool.py")


def test_help_keeps_the_lines_of_a_description(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.override(Options(), ["--help"], "tool.py RUN", "What it does.\n\na\n    b\nc\n")
    assert not stop.value.code
    text = capsys.readouterr().out
    assert "\na\n    b\nc\n" in text
    assert "how many (default: 1)" in text


def test_bash_completes_options_and_values(capsys):
    with pytest.raises(SystemExit) as stop:
        read("--print-completion", "bash")
    assert not stop.value.code
    script = (
        capsys.readouterr().out
        + """
complete -p tool.py python
try() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
  _ldm_jax_python python "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
  echo "${COMPREPLY[@]}"
}
try python tool.py RUN --n
try python tool.py RUN --part.kind ""
"""
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["--num", "one two"]
    assert done.stdout.count("complete -o default") == 2


@pytest.mark.parametrize(
    ("tool", "line"),
    [
        ("train.py", "lower --data.image-size to 8 or less"),
        ("scripts/evaluate.py", "lower data.image_size to 8 or less"),
    ],
)
def test_options_that_only_training_has_are_named_as_settings_elsewhere(
    tool, line, monkeypatch, capsys
):
    def fails(words):
        raise InputError("lower --data.image-size to 8 or less")

    monkeypatch.setattr("sys.argv", [tool])
    with pytest.raises(SystemExit):
        cli.main(fails)
    assert capsys.readouterr().err == f"error: {line}\n"
