"""What a file beside the images says of them, checked by type, each fault with its row.

metadata.jsonl   one object a line, with `file_name` and any other fields
metadata.csv     a column `file_name` and any others; an empty cell, or nan, is a missing field
metadata.parquet the same, with types
dataset.json     of StyleGAN and EDM: {"labels": [[FILE, CLASS], ...]}
prompt.json      of ControlNet's fill50k: an object a line, with `source`, the hint, `target`, the
                 image, and `prompt`
"""

import csv
import io
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ldm_jax.data.image_set import ImageSet, shown
from ldm_jax.data.table import Row
from ldm_jax.errors import InputError, others, shortened

METADATA = (
    "metadata.jsonl",
    "metadata.csv",
    "metadata.parquet",
    "dataset.json",
    "prompt.json",
)  # of several, the first is read
MISSING = (None, "", "nan", "NaN", "None", "null", "NULL", "<NA>")  # cells of a table without value
CLASSES = 2**20  # more are a mistake


def has_metadata(names: list[str]) -> bool:
    """Whether a folder with files of these names has metadata."""
    return any(name in METADATA[:3] for name in names)


def read(files: ImageSet) -> tuple[str | None, list[Row]]:
    """The name of a set's metadata, and their rows; None where it has none.

    Raises:
        InputError: it cannot be read, or names no image, or one that is not there.
    """
    file = next((name for name in METADATA if name in files.others), None)
    if file is None:
        return None, []
    found = _found(files.root / file)
    if found is None:
        return None, []
    find = finder(files)
    rows = [_row(files.root, find, *each) for each in found]
    if not rows:
        where = files.root / file
        raise InputError(f"{where} has no lines: write one an image, or remove the file")
    return file, rows


def _found(path: Path) -> Iterable[tuple[str, Any]] | None:
    """Where each row is, and its fields; None where the file is not of the kind of its name."""
    if path.suffix == ".parquet":
        from ldm_jax.data import parquet  # pyarrow takes its time

        return parquet.read_rows(path)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text: {error}") from error
    readers = {"metadata.jsonl": _json_lines, "metadata.csv": _table, "dataset.json": _labels}
    return readers.get(path.name, _pairs)(path, text)


def finder(files: ImageSet) -> Callable[[str], str | None]:
    """Name -> path of a file of the set, whatever the Unicode form of either; None: there is none.

    A name may lead out of the set's folder, and have backslashes.
    """
    exact = {*files.images, *files.others}
    composed = {nfc(name): name for name in exact}

    def find(name: str) -> str | None:
        for each in (name, name.replace("\\", "/")):
            plain = os.path.normpath(each)
            plain = plain if plain in exact else composed.get(nfc(plain), plain)
            path = os.path.join(files.root, plain)
            if plain in exact or os.path.isfile(path):
                return path
        return None

    return find


def nfc(text: str) -> str:
    """Text in Unicode's composed form, in which names are compared."""
    return unicodedata.normalize("NFC", text)


def _row(root: Path, find: Callable[[str], str | None], where: str, fields: Any) -> Row:
    name = fields.get("file_name") if isinstance(fields, dict) else None
    if not isinstance(name, str):
        raise InputError(f'{where} names no image: it needs "file_name": "..." relative to {root}')
    path = find(name)
    if path is None:
        raise InputError(
            f"{where} names {shortened(shown(name))}, which is not in {root}: correct the name or "
            "remove the line"
        )
    return Row(where, path, {key: x for key, x in fields.items() if key != "file_name"})


def _json_lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield f"{path} line {number}", json.loads(line)
        except (ValueError, RecursionError) as error:  # also a number of thousands of digits
            why = f"{error.msg}, column {error.colno}" if hasattr(error, "colno") else error
            raise InputError(
                f"{path} line {number} is not valid JSON ({why}): "
                'write one object a line, such as {"file_name": "a.png", "text": "a cat"}'
            ) from error


def _table(path: Path, text: str) -> list[tuple[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows, header = [], reader.fieldnames or []
    if again := next((name for name in header if header.count(name) > 1), None):
        raise InputError(f"{path} has two columns '{again}': rename one")
    try:
        for cells in reader:
            if any(cells.get(None, ())):
                raise InputError(
                    f"{path} line {reader.line_num} has more cells than the header: expected "
                    f"{len(header)}; put text that has commas in quotes"
                )
            found = {key: x for key, x in cells.items() if key is not None and x not in MISSING}
            rows.append((f"{path} line {reader.line_num}", found))
    except csv.Error as error:
        raise InputError(f"{path} line {reader.line_num} is not CSV: {error}") from error
    for name in header:
        column = [found[name] for _, found in rows if name in found]
        if name != "file_name" and all(re.fullmatch(r"\d{1,9}(\.0+)?", cell) for cell in column):
            for _, found in rows:
                found |= {name: int(float(found[name]))} if name in found else {}
    return rows


def _labels(path: Path, text: str) -> list[tuple[str, Any]] | None:
    """None where the file is not of StyleGAN or EDM."""
    try:
        labels = json.loads(text)["labels"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(labels, list) or not all(isinstance(x, list) and len(x) == 2 for x in labels):
        return None
    return [
        (f"{path} label {number}", {"file_name": name, "label": label})
        for number, (name, label) in enumerate(labels, start=1)
    ]


def _pairs(path: Path, text: str) -> list[tuple[str, Any]] | None:
    """None where the file is not of fill50k."""
    try:
        rows = list(_json_lines(path, text))
        pairs = [
            (where, [fields[n] for n in ("target", "source", "prompt")]) for where, fields in rows
        ]
    except (InputError, TypeError, KeyError):
        return None
    names = "file_name", "conditioning_image", "text"
    return [(where, dict(zip(names, found, strict=True))) for where, found in pairs]


def fault_of(rows: list[Row], field: str, fault: Callable[[Any], str | None]) -> str | None:
    """The first row whose field is not as expected, why, and how many others there are.

    Args:
        fault: what is wrong with a value that is not None.
    """

    def why(row: Row) -> str | None:
        value = row.fields.get(field)
        return f"has no field {field!r}" if value is None else fault(value)

    found = [(row.where, reason) for row in rows if (reason := why(row))]
    if not found:
        return None
    where, reason = found[0]
    return f"{where} {reason}{others(len(found) - 1, len(rows))}"


def caption_fault(value: Any) -> str | None:
    """Why a value is no caption: text, or a list of some."""
    texts = value if isinstance(value, list) else [value]
    if texts and all(isinstance(text, str) and _encodable(text) for text in texts):
        return None
    return f"has {_shown(value)} as a caption: expected text, or a list with at least one"


def label_fault(value: Any) -> str | None:
    """Why a value is no class: a number from 0, or a name in one line."""
    if isinstance(value, str):
        if value.strip() and len(value.splitlines()) == 1 and _encodable(value):
            return None
    elif isinstance(value, bool) or (_is_whole(value) and 0 <= value < CLASSES):
        return None
    return (
        f"has label {_shown(value)}: expected a name, or a class numbered from 0 to {CLASSES - 1}"
    )


def number_classes(
    values: list[tuple[str, Any]], known: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], list[int]]:
    """(where, label) -> names of the classes, and each label's class: whole numbers stay, names
    are numbered in sorted order.

    Args:
        known: names of the classes that numbers mean, if they are known.

    Raises:
        InputError: labels of both kinds, or one that is none.
    """
    for where, value in [*values, *(("a known class", name) for name in known)]:
        if fault := label_fault(value):
            raise InputError(f"{where} {fault}")
    whole = [_is_whole(value) for _, value in values]
    if all(whole):
        numbers = [int(value) for _, value in values]
        if known and max(numbers, default=0) >= len(known):
            where, value = max(values, key=lambda each: each[1])
            raise InputError(f"{where} has label {value}: expected one of {len(known)} classes")
        if known:
            return known, numbers
        return tuple(map(str, range(max(numbers, default=-1) + 1))), numbers
    if any(whole):
        (where, value), (other, name) = values[whole.index(True)], values[whole.index(False)]
        raise InputError(
            f"{where} has label {value}, a number, and {other} {name!r}: expected all labels to be "
            "numbers, or all names"
        )
    texts = [nfc(str(value)) for _, value in values]
    names = tuple(sorted(set(texts)))
    indices = {name: number for number, name in enumerate(names)}
    return names, [indices[text] for text in texts]


def read_boxes(
    rows: list[Row], known: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Names of the classes of all boxes, and the boxes of each row as in `objects`; for `known`,
    see `number_classes`."""
    for row in rows:
        boxes = row.fields["boxes"]
        if not isinstance(boxes, list) or not all(map(is_box, boxes)):
            raise InputError(
                f"{row.where} has boxes that are not a list of [x, y, width, height, "
                "class], the first four in parts of the image, from 0 to 1"
            )
    kinds = [(row.where, box[4]) for row in rows for box in row.fields["boxes"]]
    names, numbers = number_classes(kinds, known)
    following = iter(numbers)
    boxes = [[[*box[:4], next(following)] for box in row.fields["boxes"]] for row in rows]
    return names, [np.array(each, np.float32).reshape(-1, 5) for each in boxes]


def is_box(box: Any) -> bool:
    """Whether this is [x, y, width, height, class], as fractions of an image."""
    if not isinstance(box, list) or len(box) != 5 or type(box[4]) not in (int, str):
        return False
    return all(type(x) in (int, float) and 0 <= x <= 1 for x in box[:4]) and min(box[2:4]) > 0


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _encodable(text: str) -> bool:
    """Whether this is text: halves of surrogate pairs are not."""
    return all(not "\ud800" <= letter <= "\udfff" for letter in text)


def _shown(value: Any, limit: int = 60) -> str:
    text = ascii(value) if isinstance(value, str) and not _encodable(value) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]} ..."
