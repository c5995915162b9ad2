"""Settings: frozen dataclasses whose annotated types say what a field may be.

A range is a type, `AtLeast1 = Annotated[int, Range(...)]`, in the file of what it sets:

    @dataclass(frozen=True)
    class Adversary:
        weight: NotNegative = 0.0
        layers: AtLeast1 = 3

        def check(self, prefix: str) -> None: ...   # what goes with what inside it

`check` visits a config: first the ranges of all fields, then the `check` of each class, the
whole before its parts.
"""

import dataclasses
import difflib
import math
import os
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import typeguard
import tyro

from ldm_jax.errors import InputError, reading, shortened

EVERY_ITEM = typeguard.CollectionCheckStrategy.ALL_ITEMS


class Range(NamedTuple):
    """What a value may be."""

    expected: str  # in words, as an error says it
    fits: Callable[[Any], bool]  # value -> bool


class OneOf:
    """That a text is a name in a table, which may grow: `Annotated[str, *one_of(TABLE)]`."""

    def __init__(self, names: Mapping[str, Any]):
        self.names = names

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.names)}"

    def fits(self, value: str) -> bool:
        return value in self.names


def one_of(names: Mapping[str, Any]) -> tuple[OneOf, Any]:
    """The annotations of such a text, for `ranges` and for the command line."""
    rule = OneOf(names)

    def read(words: list[str]) -> str:
        if not rule.fits(words[0]):
            raise ValueError(f"'{words[0]}': expected {rule.expected}")
        return words[0]

    return rule, tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(names)}}}",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    )


def _finite(low: float, x: float) -> bool:
    return low <= x < math.inf


AtLeast1 = Annotated[int, Range("at least 1", lambda x: x >= 1)]
AtLeast2 = Annotated[int, Range("at least 2", lambda x: x >= 2)]
AtLeast3 = Annotated[int, Range("at least 3, [CLS], a word and [SEP]", lambda x: x >= 3)]
MoreThan4 = Annotated[int, Range("more than 4, the special tokens", lambda x: x > 4)]
NotNegativeInt = Annotated[int, Range("0 or more", lambda x: x >= 0)]
NotNegative = Annotated[float, Range("0 or more", lambda x: _finite(0, x))]
Positive = Annotated[float, Range("more than 0", lambda x: 0 < x < math.inf)]
Fraction = Annotated[float, Range("0 to 1", lambda x: 0 <= x <= 1)]
Decay = Annotated[float, Range("0 or more, and less than 1", lambda x: 0 <= x < 1)]
OpenFraction = Annotated[float, Range("more than 0, and less than 1", lambda x: 0 < x < 1)]
Finite = Annotated[float, Range("a finite number", math.isfinite)]
AtLeastOne = Annotated[float, Range("at least 1", lambda x: _finite(1, x))]
Seed = Annotated[int, Range("0 to 2^32 - 1", lambda x: 0 <= x < 2**32)]
Levels = Annotated[
    tuple[int, ...],
    Range("one number a level, each at least 1", lambda x: min(x, default=0) >= 1),
]
Factors = Annotated[
    tuple[int, ...], Range("numbers of at least 1", lambda x: min(x, default=1) >= 1)
]


def ranges(hint: Any) -> Iterator[Range | OneOf]:
    """The ranges in an annotated type, also inside `X | None`."""
    if get_origin(hint) is Annotated:
        yield from (x for x in hint.__metadata__ if isinstance(x, Range | OneOf))
        yield from ranges(hint.__origin__)
    elif get_origin(hint) in (Union, types.UnionType):
        for part in get_args(hint):
            yield from ranges(part)


def parts(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings inside `config`, each after its own parts, with the prefix of its fields."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from parts(value, f"{prefix}{field.name}.")
        elif isinstance(value, tuple):
            for i, one in enumerate(value):
                if dataclasses.is_dataclass(one):
                    yield from parts(one, f"{prefix}{field.name}.{i}.")
    yield prefix, config


def check_ranges(config: Any, prefix: str = "", named: Callable[[str], str] = str) -> None:
    """Raises InputError for the first value in a config that its field cannot be.

    Args:
        named: a field's dotted name -> that in errors.
    """
    for where, part in parts(config, prefix):
        hints = get_type_hints(type(part), include_extras=True)
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if value is None or isinstance(value, str):
                continue
            for one in ranges(hints[field.name]):
                if not one.fits(value):
                    name = named(where + field.name)
                    raise InputError(f"{name} is {value}: expected {one.expected}")


def check(config: Any, prefix: str = "") -> None:
    """Raises InputError for the first field out of its range, or that does not go with another.

    The `check` of a whole comes before those of its parts.

    Args:
        prefix: of the fields' names in errors, such as "first_stage.".
    """
    check_ranges(config, prefix)
    for where, part in reversed(list(parts(config, prefix))):
        if hasattr(part, "check"):
            part.check(where)


def check_types(config: Any, where: str, prefix: str = "") -> None:
    """Raises InputError for the first value in a config that is not of its field's type.

    Args:
        where: they stand, for the error.
        prefix: of the fields' names in the error.
    """
    for inner, part in reversed(list(parts(config, prefix))):
        hints, ranged = (get_type_hints(type(part), include_extras=x) for x in (False, True))
        for field in dataclasses.fields(part):
            value, hint = getattr(part, field.name), hints[field.name]
            named = [x for x in ranges(ranged[field.name]) if isinstance(x, OneOf)]
            if not is_of(value, hint) or not all(value is None or x.fits(value) for x in named):
                expected = [x.expected for x in named] or [_type_name(hint)]
                raise InputError(
                    f"{where}: {inner}{field.name} is {shortened(repr(value))} "
                    f"({type(value).__name__}): expected {expected[0]}"
                )


def is_of(value: Any, hint: Any) -> bool:
    """Whether a value is of a type; True and False are no numbers."""
    if isinstance(value, bool) and hint in (int, float, int | None):
        return False
    try:
        typeguard.check_type(value, hint, collection_check_strategy=EVERY_ITEM)
    except typeguard.TypeCheckError:
        return False
    return True


def _type_name(hint: Any) -> str:
    if hasattr(hint, "__name__") and not hasattr(hint, "__args__"):
        return hint.__name__
    return re.sub(r"(typing|ldm_jax(\.\w+)+)\.", "", str(hint))


def check_within(value: int, name: str, least: int, most: int, of: str) -> None:
    """Raises InputError unless least <= value <= most, which is the number of what it counts.

    Args:
        name: of the value, such as "--num".
        of: what is counted, such as "the images of 'DIR'".
    """
    if most < least:
        raise InputError(f"{of} are {most}: expected at least {least}")
    if not least <= value <= most:
        raise InputError(f"{name} is {value}: expected {least} to {most}, {of}")


def flag(option: str) -> str:
    """An option as the command line has it."""
    return f"--{option.strip('_').replace('_', '-')}"


def did_you_mean(word: str, words: Sequence[str]) -> str:
    """Which of `words` may have been meant."""
    near = difflib.get_close_matches(word, words, 1, 0.5)
    return f": did you mean '{near[0]}'?" if near else f": expected one of {', '.join(words)}"


def subclasses(kind: type) -> Iterator[type]:
    """All that are defined, those of subclasses included."""
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


def at_home(path: Path | str) -> Path:
    """A path with ~ replaced by the home folder.

    Raises:
        InputError: there is none.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"'{path}' is in a home folder that is not known: expected a path without ~"
        ) from error


def read_text(path: Path | str, named: str) -> str:
    """The text of a file in UTF-8, without a byte-order mark.

    Args:
        named: what it is, for errors, such as "--prompts-file".

    Raises:
        InputError: it cannot be read, or is no such text.
    """
    with reading(f"{named} '{path}'", "a file of UTF-8 text"):
        return Path(path).read_text("utf-8-sig")


def check_folder(path: Path, name: str) -> None:
    """Raises InputError where the folder `path`, given as `name`, could not be made or filled."""
    if re.match("[a-z][a-z0-9+.-]+:/", str(path)):  # what is left of an address as a path
        raise InputError(
            f"{name} '{path}' is an address: expected a folder of this machine; mount the bucket "
            "(gcsfuse, s3fs, rclone mount) and give the folder, or copy it there afterwards"
        )
    place = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not place.is_dir():
        raise InputError(f"{name} '{path}': '{place}' is a file, expected a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{name} '{path}': '{place}' may not be written, choose another folder")


def check_divides(network: Any, name: str, prefix: str) -> None:
    """Raises InputError unless the field `name` divides the channels of every level.

    Args:
        network: with channels and channel_mults.
    """
    for channels in (mult * network.channels for mult in network.channel_mults):
        if channels % getattr(network, name):
            raise InputError(
                f"{prefix}{name} is {getattr(network, name)}: expected a divisor of {channels}, "
                f"the channels of a level ({prefix}channels times one of {prefix}channel_mults)"
            )
