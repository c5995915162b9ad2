"""Nobody asks for the class of a config but its own file and its package's `__init__`."""

import ast
import dataclasses
import types

import ldm_jax.config
from tests.house.source import MODULES, PACKAGE, TOOLS, TREES, assert_none, parsed

EXPORTED = vars(ldm_jax.config)
SETTINGS = {
    name: value.__module__
    for name, value in EXPORTED.items()
    if isinstance(value, type) and dataclasses.is_dataclass(value)
}
UNIONS = {name for name, value in EXPORTED.items() if isinstance(value, types.UnionType)}


def last(node: ast.AST) -> str:
    """The last part of a dotted name."""
    return getattr(node, "attr", None) or getattr(node, "id", "")


def named(node: ast.AST | None) -> set[str]:
    """Settings classes that an expression names."""
    names = {last(x) for x in ast.walk(node)} if node else set()
    return names & (SETTINGS.keys() | UNIONS)


def asks(tree: ast.AST) -> set[tuple[str, str]]:
    """(how, class) for each place that distinguishes configs by their class."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, kinds]):
                found |= {("isinstance", name) for name in named(kinds)}
            case ast.MatchClass(cls=cls):
                found |= {("match", name) for name in named(cls)}
            case ast.Dict(keys=keys):
                found |= {("table", name) for key in keys for name in named(key)}
            case ast.Compare(left=ast.Call(func=ast.Name(id="type")), comparators=[other]):
                found |= {("type()", name) for name in named(other)}
            case ast.Subscript(slice=ast.Call(func=ast.Name(id="type"))):
                found.add(("type()", "a table"))
            case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Call(func=func), *_]):
                found |= {("type()", "a table")} if last(func) == "type" else set()
    return found


def may_ask(module: str, name: str) -> bool:
    """Whether a module is a class's own file, or the `__init__` of its package."""
    owner = SETTINGS.get(name, "")
    return module == owner or (
        owner.startswith(f"{PACKAGE}.") and module == owner.rpartition(".")[0]
    )


def test_nobody_else_asks_for_the_class_of_a_config():
    trees = TREES | {path.name: parsed(path) for path in TOOLS}
    found = {
        f"{module}: {how} of {name}"
        for module, tree in trees.items()
        for how, name in asks(tree)
        if not may_ask(module, name)
    }
    assert_none("settings", found)


def test_every_way_to_ask_is_found():
    program = """
isinstance(x, c.UNet | Label)
match x:
    case Depth(): pass
a = {UNet: 1}
b = type(x) is KLAutoencoder
c = TABLE[type(x)]
"""
    assert {how for how, _ in asks(ast.parse(program))} == {
        "isinstance",
        "match",
        "table",
        "type()",
    }
    assert len(MODULES) > 40 and len(SETTINGS) > 20
