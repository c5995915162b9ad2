"""Reads the config of a run as data: its text is parsed, and nothing in it is executed.

A run may come from anyone, so its config.py may hold what `writing.as_python` writes and no more:

    from ldm_jax.config import *

    config = Experiment(data=Data(path='photos', image_size=64), ...)

Names called are those of settings (frozen dataclasses in `ldm_jax.config`), with keywords; values
are numbers, strings, True, False, None, `inf`, tuples, lists and dicts of these.
"""

import ast
import dataclasses
import math
import re
import warnings
from pathlib import Path
from typing import Any, NoReturn, get_args

from ldm_jax import config as configs
from ldm_jax.adapters.settings import AdapterSettings
from ldm_jax.autoencoders.autoencoder import Autoencoder
from ldm_jax.backbones.settings import BackboneSettings
from ldm_jax.conditioning import Condition
from ldm_jax.errors import InputError, reason
from ldm_jax.experiments import AnyExperiment
from ldm_jax.runs.migrate import CLASSES, NONE, migrate
from ldm_jax.settings import check_types, did_you_mean, subclasses

MAX_BYTES = 2**18
MAX_DEPTH = 32  # of values inside each other
MAX_INT = 2**63
# of what a source line may say its encoding is (PEP 263), in the first two lines
COOKIE = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
UTF8 = {"utf8", "utf-8"}
RULE = (
    "expected settings of ldm_jax.config and plain values, as train.py writes them; nothing in it "
    "was executed"
)
OPEN = (AdapterSettings, Autoencoder, BackboneSettings, Condition)
EXPERIMENTS = get_args(AnyExperiment)
Node = ast.expr | ast.stmt


def is_in_run(path: Path) -> bool:
    """Whether a config file is that of a run, which is read as data: checkpoints are beside it."""
    return (path.parent / "checkpoints").is_dir()


def read(path: Path) -> Any:
    """The experiment in the config.py of a run.

    Raises:
        InputError: it holds something else than settings and plain values, an unknown field, or a
            value of the wrong type.
    """
    return check_experiment(_Reader(path).config(_parsed(path)), path)


def check_experiment(config: Any, path: str | Path, kinds: tuple[type, ...] = EXPERIMENTS) -> Any:
    """The `config` of a config file, where it is of these kinds and its values have their types.

    Raises:
        InputError: it is none, or a value is of the wrong type.
    """
    if not isinstance(config, kinds):
        first, *others = (f"{kind.__name__}(...)" for kind in kinds)
        raise InputError(
            f"config '{path}' has no {'experiment' if others else kinds[0].__name__}: expected "
            f"`config = {first}`" + (f", or one of {', '.join(others)}" if others else "")
        )
    check_types(config, f"config '{path}'")
    return config


def unknown_field(kind: type, name: str) -> str:
    """That settings have no such field, with the nearest right spelling."""
    names = [field.name for field in dataclasses.fields(kind)]
    return f"{kind.__name__} has no field '{name}'{did_you_mean(name, names)}"


def _parsed(path: Path) -> ast.Module:
    """The syntax tree of a file of UTF-8."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"config '{path}' is larger than {MAX_BYTES} bytes: {RULE}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"config '{path}' is not UTF-8 ({error.reason}): {RULE}") from None
    if "\0" in text:
        raise InputError(f"config '{path}' holds a NUL byte: {RULE}")
    for line in text.splitlines()[:2]:
        cookie = COOKIE.match(line)
        if cookie and cookie[1].lower().replace("_", "-") not in UTF8:
            raise InputError(f"config '{path}' says that it is '{cookie[1]}': expected UTF-8")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes such as "\d"
            return ast.parse(text, str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"config '{path}' cannot be parsed: {reason(error)}: {RULE}") from None


def settings() -> dict[str, type]:
    """The frozen dataclasses that a config may name: ours, and conditions, backbones and first
    stages that the process itself has defined."""
    kinds = {kind.__name__: kind for base in OPEN for kind in subclasses(base)} | vars(configs)
    return {
        name: kind
        for name, kind in kinds.items()
        if isinstance(kind, type)
        and dataclasses.is_dataclass(kind)
        and kind.__dataclass_params__.frozen
    }


class _Reader:
    """Makes values of syntax trees; `path` is for errors."""

    def __init__(self, path: Path):
        self.path = path
        self.settings = settings()

    def refuse(self, node: Node, what: str) -> NoReturn:
        raise InputError(f"config '{self.path}', line {node.lineno}: {what}: {RULE}")

    def config(self, module: ast.Module) -> Any:
        """What the file calls `config`; None where it has none."""
        found = []
        for i, node in enumerate(module.body):
            match node:
                case ast.Expr(value=ast.Constant(value=str())) if i == 0:
                    pass  # a docstring
                case ast.ImportFrom(module=configs.__name__, names=names, level=0) if all(
                    alias.asname is None for alias in names
                ):
                    pass
                case ast.Assign(targets=[ast.Name(id="config")], value=value) if not found:
                    found.append(self.value(value, 0))
                case ast.Assign(targets=[ast.Name(id="config")]):
                    self.refuse(node, "a second `config`")
                case _:
                    self.refuse(node, _name(node))
        return found[0] if found else None

    def value(self, node: ast.expr, depth: int) -> Any:
        """The value of an expression at most MAX_DEPTH deep."""
        if depth > MAX_DEPTH:
            self.refuse(node, f"values more than {MAX_DEPTH} deep")
        match node:
            case ast.Constant():
                return self.constant(node)
            case ast.Name(id="inf"):
                return math.inf
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                number = self.number(operand, node)
                return -number if isinstance(sign, ast.USub) else number
            case ast.Tuple(elts=items):
                return tuple(self.value(item, depth + 1) for item in items)
            case ast.List(elts=items):
                return [self.value(item, depth + 1) for item in items]
            case ast.Dict():
                return self.mapping(node, depth)
            case ast.Call():
                return self.call(node, depth)
        self.refuse(node, _name(node))

    def constant(self, node: ast.Constant) -> Any:
        value = node.value
        if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
            self.refuse(node, "text with a NUL or half a character")
        if isinstance(value, bool | str | None):
            return value
        if isinstance(value, int) and value < MAX_INT:
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        if isinstance(value, int | float):
            self.refuse(node, "a number too large")
        self.refuse(node, f"a value of type {type(value).__name__}")

    def number(self, node: ast.expr, whole: ast.expr) -> int | float:
        """What follows a sign."""
        if isinstance(node, ast.Name | ast.Constant):
            value = self.value(node, 0)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return value
        self.refuse(whole, "a sign before what is no number")

    def mapping(self, node: ast.Dict, depth: int) -> dict[str | int, Any]:
        result = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str | int):
                self.refuse(key or value, "a dict's key that is neither text nor a whole number")
            result[self.constant(key)] = self.value(value, depth + 1)
        return result

    def call(self, node: ast.Call, depth: int) -> Any:
        """Settings by their name."""
        if not isinstance(node.func, ast.Name):
            self.refuse(node.func, f"a call of {_name(node.func)}")
        name = node.func.id
        if name not in self.settings and name not in CLASSES and name not in NONE:
            self.refuse(node, f"a call of '{name}'")
        if node.args:
            self.refuse(node.args[0], f"a value of {name} without the name of its field")
        fields = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                self.refuse(keyword.value, f"`**` in {name}")
            if keyword.arg in fields:
                self.refuse(keyword.value, f"a second '{keyword.arg}' of {name}")
            fields[keyword.arg] = self.value(keyword.value, depth + 1)
        if name in NONE:
            return None
        name, fields = migrate(name, fields)
        return self.make(node, self.settings[name], fields)

    def make(self, node: ast.Call, kind: type, fields: dict[str, Any]) -> Any:
        names = {field.name for field in dataclasses.fields(kind) if field.init}
        for name in fields.keys() - names:
            raise InputError(f"config '{self.path}': {unknown_field(kind, name)}")
        try:
            return kind(**fields)
        except TypeError as error:  # a field that has no default is not given
            raise InputError(f"config '{self.path}': {reason(error)}") from None


def _name(node: Node) -> str:
    """What a refused line or value is, in words."""
    match node:
        case ast.Import(names=[first, *_]):
            return f"an import of '{first.name}'"
        case ast.ImportFrom(module=module):
            return f"an import from '{module or '.'}'"
        case ast.Attribute(attr=attribute):
            return f"an access to attribute '{attribute}'"
        case ast.Name(id=name):
            return f"the name '{name}'"
        case ast.Call(func=ast.Name(id=name)):
            return f"a call of '{name}'"
        case ast.Call(func=function):
            return f"a call of {_name(function)}"
        case ast.Expr(value=value):
            return f"a line of code, {_name(value)}"
        case ast.expr():
            return f"an expression ({type(node).__name__})"
    return f"a line of code ({type(node).__name__})"
