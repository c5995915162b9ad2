"""Functions and files that a reader can hold in mind."""

import ast
from pathlib import Path

from tests.house.source import PATHS, ROOT, TOOLS, assert_none, parsed

LINES, PARAMETERS, FILE = 60, 8, 400
FILES = {str(path.relative_to(ROOT)): path for path in [*PATHS, *TOOLS]}


def functions(path: Path):
    """Functions of a file, with those inside of others."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parameters(function: ast.FunctionDef) -> int:
    """How many it has, without `self` or `cls`; *args and **kwargs are one each."""
    a = function.args
    names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if x]
    return len([name for name in names if name not in ("self", "cls")])


def test_functions_are_of_at_most_60_lines():
    found = {
        f"{file}: {f.name}"
        for file, path in FILES.items()
        for f in functions(path)
        if f.end_lineno - f.lineno + 1 > LINES
    }
    assert_none("lines", found)


def test_functions_have_at_most_8_parameters():
    found = {
        f"{file}: {f.name}"
        for file, path in FILES.items()
        for f in functions(path)
        if parameters(f) > PARAMETERS
    }
    assert_none("parameters", found)


def test_files_are_of_at_most_400_lines():
    found = {file for file, path in FILES.items() if len(path.read_text().splitlines()) > FILE}
    assert_none("files", found)
