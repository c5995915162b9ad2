"""Text files are UTF-8, whatever the locale of who runs a command."""

import ast

import pytest

from tests.house.source import PATHS, ROOT, TOOLS, assert_none, parsed

MODES = set("rwaxt+")  # letters of the modes of text files


def opens_text(call: ast.Call) -> bool:
    """Whether a call reads or writes a text file without naming its encoding."""
    if any(given.arg == "encoding" for given in call.keywords):
        return False
    function, arguments = call.func, call.args
    if isinstance(function, ast.Name):
        named = [given.value for given in call.keywords if given.arg == "mode"]
        modes = [x.value for x in [*arguments[1:2], *named] if isinstance(x, ast.Constant)]
        return function.id == "open" and not any("b" in mode for mode in modes)
    if not isinstance(function, ast.Attribute):
        return False
    if function.attr in ("read_text", "write_text"):
        return len(arguments) == (function.attr == "write_text")
    mode = arguments[0].value if arguments and isinstance(arguments[0], ast.Constant) else None
    of_text = not arguments or (isinstance(mode, str) and set(mode) <= MODES)
    return function.attr == "open" and of_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("open(x)", True),
        ("open(x, 'w')", True),
        ("open(x, 'rb')", False),
        ("open(x, encoding='utf-8')", False),
        ("path.open()", True),
        ("path.open('w', newline='')", True),
        ("path.open('wb')", False),
        ("Image.open(path)", False),
        ("path.read_text()", True),
        ("path.read_text('utf-8')", False),
        ("path.write_text(text)", True),
        ("path.write_text(text, 'utf-8')", False),
    ],
)
def test_what_opens_a_text_is_found(text, expected):
    assert opens_text(ast.parse(text).body[0].value) is expected


def test_whoever_opens_a_text_names_its_encoding():
    files = [*PATHS, *TOOLS, *(ROOT / "benchmarks").glob("*.py")]
    found = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and opens_text(node)
    }
    assert_none("encoding", found)
