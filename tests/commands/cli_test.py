"""How a command line tool ends."""

import sys

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
