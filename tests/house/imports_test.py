"""What a file takes of another file of the project is there: also in benchmarks, which no test
imports."""

import ast
from functools import cache
from pathlib import Path

from tests.house.source import ROOT, assert_none, module_name, parsed

FOLDERS = ("ldm_jax", "configs", "scripts", "benchmarks", "tests")
FILES = [*ROOT.glob("*.py"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))]
MODULES = {module_name(path): path for path in FILES}


@cache
def given(module: str) -> set[str] | None:
    """The names that a module defines or imports; None: some of them by a star."""
    found = set()
    for node in ast.walk(parsed(MODULES[module])):
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Name(ctx=ast.Store()):
                found.add(node.id)
            case ast.Import() | ast.ImportFrom():
                names = {(one.asname or one.name).split(".")[0] for one in node.names}
                if "*" in names:
                    return None
                found |= names
    return found


def has(module: str, name: str) -> bool:
    names = given(module)
    return names is None or name in names or f"{module}.{name}" in MODULES or name[:2] == "__"


def absent(path: Path) -> list[str]:
    """Names that a file takes of modules that have none of them."""
    nodes, modules, found = list(ast.walk(parsed(path))), {}, []
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                whole = f"{node.module}.{one.name}"
                if whole in MODULES:
                    modules[one.asname or one.name] = whole
                elif node.module in MODULES and one.name != "*" and not has(node.module, one.name):
                    found.append(whole)
    own = {x.id for x in nodes if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)}
    own |= {x.arg for x in nodes if isinstance(x, ast.arg)}
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            if module and node.value.id not in own and not has(module, node.attr):
                found.append(f"{module}.{node.attr}")
    return found


def test_what_is_taken_of_a_file_is_there():
    found = {f"{path.relative_to(ROOT)}: {name}" for path in FILES for name in absent(path)}
    assert_none("imports", found)


def test_what_is_absent_is_found(tmp_path):
    file = tmp_path / "a.py"
    file.write_text(
        "from ldm_jax.nn import conv\nfrom ldm_jax.errors import nothing\nconv.conv\nconv.no\n"
    )
    assert absent(file) == ["ldm_jax.errors.nothing", "ldm_jax.nn.conv.no"]
