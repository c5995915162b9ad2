"""What a layout says of its images, row by row, however it is stored."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ldm_jax.data.transforms import Encoded

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Row(NamedTuple):
    """What is said of one image.

    where: of what file and line, for messages
    image: its path, or what reads its bytes
    """

    where: str
    image: Encoded
    fields: dict[str, Any]


class Table(NamedTuple):
    """The rows of a set.

    files:    that were read, relative to the set's folder
    others:   what images of the folder are that no row has
    classes:  field -> names of the classes that its numbers mean
    left_out: names by kind
    note:     how the images were found, for the line that announces them
    checked:  images that are read before training starts; None: the usual number
    """

    rows: list[Row]
    files: tuple[str, ...]
    others: str = "without a line"
    classes: Mapping[str, tuple[str, ...]] = NOTHING
    left_out: Mapping[str, list[str]] = NOTHING
    note: str = ""
    checked: int | None = None
