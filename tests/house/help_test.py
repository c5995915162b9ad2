"""Every setting and every option of the tools has a help text."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

from tyro import _docstrings

import ldm_jax.evaluate
import ldm_jax.tools
from ldm_jax import experiments
from ldm_jax.sections import Section
from tests.house.source import TOOLS, assert_none, module_name


def settings_of(hint: Any) -> Iterator[type]:
    """The settings classes of a type, and those that inherit from them."""
    for inner in get_args(hint):
        yield from settings_of(inner)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
        for kind in hint.__subclasses__():
            yield from settings_of(kind)


def reached(roots: set[type]) -> set[type]:
    """The settings classes that have a place in some of `roots`, and these."""
    found, todo = set(), list(roots)
    while todo:
        kind = todo.pop()
        if kind not in found:
            found.add(kind)
            todo += [one for hint in get_type_hints(kind).values() for one in settings_of(hint)]
    return found


def asked() -> set[type]:
    """What the command line of some tool is read into."""
    names = [module_name(path) for path in TOOLS]
    for package in (ldm_jax.evaluate, ldm_jax.tools):
        names += [
            one.name for one in pkgutil.iter_modules(package.__path__, package.__name__ + ".")
        ]
    modules = [importlib.import_module(name) for name in names]
    values = [x for one in modules for name, x in vars(one).items() if name in ("Options", "Tool")]
    values += [x for x in vars(experiments).values() if dataclasses.is_dataclass(x)]
    return {one for kind in [*values, Section] for one in settings_of(kind)}


def without_help(kind: type) -> list[str]:
    """Fields without help, below them or in their type; a section's is that of its class."""
    hints = get_type_hints(kind, include_extras=True)

    def has_help(name: str) -> bool:
        if any(getattr(x, "help", None) for x in getattr(hints[name], "__metadata__", ())):
            return True
        return any(settings_of(hints[name])) or _docstrings.get_field_docstring(kind, name, ())

    return [one.name for one in dataclasses.fields(kind) if one.init and not has_help(one.name)]


def test_every_setting_and_option_has_help():
    kinds = reached(asked())
    assert len(kinds) > 60
    found = {f"{x.__module__}.{x.__name__}: {name}" for x in kinds for name in without_help(x)}
    assert_none("help", found)


def test_a_field_without_help_is_found():
    @dataclasses.dataclass(frozen=True)
    class Part:
        a: int = 0  # one
        b: int = 0

        c: int = 0
        """three"""

    assert without_help(Part) == ["b"]
