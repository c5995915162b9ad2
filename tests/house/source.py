"""The project's files as syntax trees."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "ldm_jax"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file, which all rules share; not to be changed."""
    return ast.parse(path.read_text("utf-8"))


PATHS = sorted((ROOT / PACKAGE).rglob("*.py"))
TREES = {module_name(path): parsed(path) for path in PATHS}
MODULES = [name for name in TREES if name != PACKAGE]
TOOLS = [*ROOT.glob("*.py"), *ROOT.glob("scripts/*.py")]  # entry points
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def imports(tree: ast.AST) -> set[str]:
    """Dotted names that a file imports, wherever in it; of `from a import b` also a.b, and a only
    where a.b is no module."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if names <= TREES.keys() else {node.module, *names}
    return found


@cache
def own(name: str) -> frozenset[str]:
    """The modules of the package that a module imports."""
    return frozenset(imports(TREES[name]) & TREES.keys()) - {PACKAGE, name}


def part(name: str) -> str:
    """ldm_jax.diffusion.samplers.ddim -> diffusion."""
    return name.split(".")[1]


def assert_none(rule: str, found: set[str]) -> None:
    """Nothing breaks a rule.

    Args:
        found: a line for each place that breaks it.
    """
    assert not found, f"breaks the rule '{rule}':\n" + "\n".join(sorted(found))
