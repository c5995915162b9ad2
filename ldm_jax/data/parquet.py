"""Parquet files: a table beside images, or images with what is said of them, as hubs store sets.

Columns of text and numbers are read when a set is opened; images when they are needed, a row group
at a time.
"""

import bisect
import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from ldm_jax.data.image_set import shown
from ldm_jax.data.maps import MAPS
from ldm_jax.data.table import Row, Table
from ldm_jax.errors import InputError, reading

KEPT = 2**29  # bytes of the row groups that were read last
CHECKED = 50  # images that are read before training starts: each may take a row group
IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp")  # columns of bytes that are images
EXPECTED = "a parquet file: copy it again, or remove it"


class Column:
    """A column of images of a file, by row. Called from several threads."""

    kept: ClassVar[OrderedDict[tuple[str, str, int], pa.ChunkedArray]] = OrderedDict()  # of all
    lock = threading.Lock()

    def __init__(self, path: str, name: str, sizes: list[int]):
        self.path, self.name = path, name
        self._ends = list(itertools.accumulate(sizes))

    def read(self, row: int) -> bytes:
        """The image of a row, encoded.

        Raises:
            ValueError: there is none.
        """
        group = bisect.bisect_right(self._ends, row)
        values = self._group(group)
        found = values[row - (self._ends[group] - len(values))].as_py()
        encoded = found.get("bytes") if isinstance(found, dict) else found
        if not encoded:
            raise ValueError("has no bytes of an image")
        return encoded

    def _group(self, group: int) -> pa.ChunkedArray:
        key = (self.path, self.name, group)
        with self.lock:
            if key not in self.kept:
                with pq.ParquetFile(self.path) as file:
                    self.kept[key] = file.read_row_group(group, columns=[self.name]).column(0)
                while len(self.kept) > 1 and sum(x.nbytes for x in self.kept.values()) > KEPT:
                    self.kept.popitem(last=False)
            self.kept.move_to_end(key)
            return self.kept[key]


@dataclass(frozen=True, slots=True)
class Cell:
    """The image of a row: called, it reads the bytes."""

    column: Column
    row: int

    def __call__(self) -> bytes:
        return self.column.read(self.row)

    def __str__(self) -> str:
        return f"{self.column.path} row {self.row}"


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row of a table without images: where it is, and its values."""
    with reading(f"'{shown(path)}'", EXPECTED), pq.ParquetFile(path) as file:
        names, _ = _values(file.schema_arrow, ())
        found = file.read(columns=names).to_pylist()
    yield from ((f"{shown(path)} row {i}", _present(fields)) for i, fields in enumerate(found))


def read_shards(root: Path, files: list[str]) -> Table:
    """The rows of files that hold images.

    Raises:
        InputError: a file that cannot be read, or none with images.
    """
    rows, classes, read, bare, unread = [], {}, [], [], set()
    columns: list[str] = []
    for name in files:
        path = root / name
        with reading(f"'{shown(path)}'", EXPECTED), pq.ParquetFile(path) as file:
            schema, sizes = file.schema_arrow, _sizes(file)
            images = _image_columns(schema)
            if not images:
                bare.append(name)
                columns = columns or schema.names
                continue
            texts, more = _values(schema, images)
            table = file.read(columns=texts)
            found = table.to_pylist() if texts else [{} for _ in range(sum(sizes))]
        first, *further = (Column(str(path), column, sizes) for column in images)
        maps = {each.name: each for each in further if each.name in MAPS}
        unread |= {*more, *(each.name for each in further if each.name not in maps)}
        read.append(name)
        for i, fields in enumerate(found):
            fields = _present(fields) | {kind: Cell(column, i) for kind, column in maps.items()}
            rows.append(Row(f"{shown(path)} row {i}", Cell(first, i), fields))
        for column, names in _classes(schema).items():
            if classes.setdefault(column, names) != names:
                raise InputError(
                    f"{path} has other names of the classes of '{column}' than {root / read[0]}: "
                    "expected the files of one set"
                )
    if not read:
        raise InputError(
            f"{root / files[0]} has no column of images but {', '.join(columns[:20])}: expected "
            f"one of bytes and path, or of bytes called {' or '.join(IMAGES[:3])}"
        )
    if not rows:
        raise InputError(f"{root / read[0]} has no rows: expected some, with an image each")
    left_out = {"parquet without images": bare, "columns": sorted(unread)}
    left_out = {kind: names for kind, names in left_out.items() if names}
    return Table(rows, tuple(read), classes=classes, left_out=left_out, checked=CHECKED)


def _sizes(file: pq.ParquetFile) -> list[int]:
    """Rows of each group."""
    return [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What the library `datasets` notes of the columns; {} without."""
    try:
        found = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {name: x for name, x in found.items() if isinstance(x, dict)}
    except (TypeError, KeyError, ValueError, AttributeError, RecursionError):
        return {}


def _image_columns(schema: pa.Schema) -> list[str]:
    """Columns of encoded images, the one called image first."""
    features = _features(schema)

    def is_image(column: pa.Field) -> bool:
        kind = column.type
        if pa.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
        noted = features.get(column.name, {}).get("_type") == "Image"
        return _is_bytes(kind) and (noted or column.name in IMAGES or column.name in MAPS)

    found = [column.name for column in schema if is_image(column)]
    if all(name in MAPS for name in found):
        return []
    return sorted(found, key=lambda name: (name in MAPS, name != "image"))


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _values(schema: pa.Schema, images: list[str] | tuple[()]) -> tuple[list[str], list[str]]:
    """Names of the columns of text, lists of text and numbers; and of the others."""

    def is_text(kind: pa.DataType) -> bool:
        return pa.types.is_string(kind) or pa.types.is_large_string(kind)

    def is_value(kind: pa.DataType) -> bool:
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            return is_text(kind.value_type)
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        return is_text(kind) or any(
            of(kind) for of in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        )

    plain = [column.name for column in schema if is_value(column.type)]
    return plain, [name for name in schema.names if name not in (*plain, *images)]


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: x for name, x in fields.items() if x is not None}


def _classes(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Column -> names of its classes, where they are noted."""
    noted = {
        name: x["names"]
        for name, x in _features(schema).items()
        if x.get("_type") == "ClassLabel" and isinstance(x.get("names"), list)
    }
    return {name: tuple(map(str, names)) for name, names in noted.items()}
