"""A plain folder of images, with labels or captions where it has them.

Supported: images alone; one sub-folder a class; a caption file for each image (`a.png`, `a.txt`);
and `metadata.jsonl`, one JSON object a line with `file_name` and any other fields.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ldm_jax.data.maps import MAPS
from ldm_jax.errors import InputError

EXTENSIONS = ("png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff")
METADATA = "metadata.jsonl"
DESCRIBED = {  # fields that only metadata can have -> their format
    "boxes": '"boxes": [[x, y, width, height, class], ...] in parts of the image',
} | {name: kind.form for name, kind in MAPS.items()}
SPLITS = {"train", "training", "test", "val", "valid", "validation", "dev"}


class Example(NamedTuple):
    """One image and its annotations."""

    path: str
    label: int | None = None
    text: str | list[str] | None = None
    text_file: str | None = None  # read with the example, not before
    boxes: np.ndarray | None = None  # see `objects`
    maps: Mapping[str, str] = MappingProxyType({})  # path of each kind of map, see `maps.MAPS`


class Folder:
    """A random-access source of records.

    A record is a dict: `image`, the file's path; `name`, for messages; and where the folder has
    them, `label`, an int, `text`, a str or a list of them, `boxes`, see `objects`, and the paths of
    its `maps.MAPS` by name.
    """

    def __init__(
        self,
        name: str,
        examples: list[Example],
        class_names: tuple[str, ...] = (),
        absent: dict[str, str] | None = None,
        object_names: tuple[str, ...] = (),
    ):
        self.name = name
        self.class_names = class_names
        self.object_names = object_names
        self.absent = absent or {}  # missing fields ("label", "text") -> why, and a remedy
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._examples[index]
        record: dict[str, Any] = {"image": example.path, "name": example.path}
        if "label" not in self.absent:
            record["label"] = example.label
        if "text" not in self.absent:
            file = example.text_file
            record["text"] = example.text if file is None else _read_caption(file)
        if "boxes" not in self.absent:
            record["boxes"] = example.boxes
        return record | example.maps

    def __repr__(self) -> str:
        return f"Folder({self.name!r}, {len(self)} images)"


def open_folder(path: str, *, split: str, caption: str, label: str) -> Folder:
    """Finds the images under `path`, in sorted order, and their annotations.

    Raises InputError without such a folder, without images, or for metadata that cannot be used.
    """
    root = Path(path).expanduser()
    if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        what = (
            "does not exist"
            if not root.exists()
            else "may not be read"
            if root.is_dir()
            else "is a file, not a folder (an archive has to be unpacked first)"
        )
        raise InputError(
            f"data.path {path} {what}: give --data.path a folder of images, tfds:NAME or shapes"
        )
    root = _enter(root, split)
    if (root / METADATA).is_file():
        return _with_metadata(root, caption, label)
    return _without_metadata(root, caption)


def _enter(root: Path, split: str) -> Path:
    """The data set's folder: past wrappers that archives make, and into the split."""
    while not (root / METADATA).is_file():
        folders, files = _children(root)
        if any(_is_image(file) for file in files) or not folders:
            break
        if {folder.lower() for folder in folders} <= SPLITS:
            if split not in folders:
                raise InputError(
                    f"{root} has no folder {split!r} but {', '.join(folders)}: "
                    "choose one of them with --data.split"
                )
            root = root / split
        elif len(folders) == 1 and _is_wrapper(root / folders[0]):
            root = root / folders[0]
        else:
            break
    return root


def _is_wrapper(folder: Path) -> bool:
    """Whether this only sub-folder contains the data set rather than the images of one class."""
    folders, files = _children(folder)
    return METADATA in files or (bool(folders) and not any(map(_is_image, files)))


def _children(folder: Path) -> tuple[list[str], list[str]]:
    """Sorted names of the visible folders and files in `folder`."""
    folders, files = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _is_junk(entry.name):
                (folders if entry.is_dir() else files).append(entry.name)
    return sorted(folders), sorted(files)


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_image(name: str) -> bool:
    return name.rpartition(".")[2].lower() in EXTENSIONS


def _walk(root: Path) -> list[Path]:
    """Every visible file below `root`, relative to it, in sorted order."""
    found, visited = [], set()
    for path, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(path)
        if real in visited:  # a link to a parent
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(folder for folder in folders if not _is_junk(folder))
        relative = Path(path).relative_to(root)
        found += [relative / file for file in files if not _is_junk(file)]
    return sorted(found)


def _without_metadata(root: Path, caption: str) -> Folder:
    files = _walk(root)
    images = [file for file in files if _is_image(file.name)]
    if not images:
        raise InputError(
            f"{root} has no images (.{', .'.join(EXTENSIONS)}): "
            "point --data.path at a folder that does"
        )
    absent = {}

    classed = all(len(image.parts) > 1 for image in images)
    class_names = tuple(sorted({image.parts[0] for image in images})) if classed else ()
    numbers = {name: number for number, name in enumerate(class_names)}
    if not classed:
        absent["label"] = (
            f"{root} has no labels: put the images of each class into a folder of its own, "
            f"or write {METADATA}"
        )

    texts = {file for file in files if file.suffix.lower() == ".txt"}
    bare = next((image for image in images if image.with_suffix(".txt") not in texts), None)
    if bare is not None:
        absent["text"] = (
            f"{root / bare} has no caption: write one next to it as {bare.stem}.txt, "
            f'or a {METADATA} with a line {{"file_name": ..., "{caption}": ...}} for each image'
        )
    for name, what in DESCRIBED.items():
        absent[name] = f"{root} has no {name}: write a {METADATA} with {what} for each image"

    examples = [
        Example(
            path=str(root / image),
            label=numbers.get(image.parts[0]),
            text_file=None if bare is not None else str(root / image.with_suffix(".txt")),
        )
        for image in images
    ]
    return Folder(str(root), examples, class_names, absent)


def _read_caption(file: str) -> str:
    try:
        return " ".join(Path(file).read_text("utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"caption {file} cannot be read as UTF-8 text: {error}") from error


def _with_metadata(root: Path, caption: str, label: str) -> Folder:
    file = root / METADATA
    rows = _read_rows(file)
    absent = {}
    for name, field in (("text", caption), ("label", label)):
        lacking = next((number for number, row in rows if row.get(field) is None), None)
        if lacking is not None:
            fields = sorted({key for _, row in rows for key in row} - {"file_name"})
            absent[name] = (
                f"{file} line {lacking} has no field {field!r}: "
                f"choose from {', '.join(fields) or 'none'} "
                f"with --data.{'caption' if name == 'text' else 'label'}"
            )

    for name, what in DESCRIBED.items():
        lacking = next((number for number, row in rows if row.get(name) is None), None)
        if lacking is not None:
            absent[name] = f"{file} line {lacking} has no field {name!r}: expected {what}"
    object_names, boxes = (), [None] * len(rows)
    if "boxes" not in absent:
        object_names, boxes = _read_boxes(file, rows)

    class_names, labels = (), [None] * len(rows)
    if "label" not in absent:
        class_names, labels = _number([(f"{file} line {n}", row[label]) for n, row in rows])
    examples = [
        Example(
            path=str(root / row["file_name"]),
            label=number,
            text=None if "text" in absent else _as_text(row[caption]),
            boxes=placed,
            maps={name: str(root / row[name]) for name in MAPS if name not in absent},
        )
        for (_, row), number, placed in zip(rows, labels, boxes, strict=True)
    ]
    return Folder(str(root), examples, class_names, absent, object_names)


def _read_boxes(
    file: Path, rows: list[tuple[int, dict[str, Any]]]
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Names of the classes of all boxes, and the boxes of each row as in `objects`."""
    for number, row in rows:
        if not isinstance(row["boxes"], list) or not all(map(is_box, row["boxes"])):
            raise InputError(
                f"{file} line {number} has boxes that are not a list of [x, y, width, height, "
                "class], the first four in parts of the image, from 0 to 1"
            )
    kinds = [(f"{file} line {number}", box[4]) for number, row in rows for box in row["boxes"]]
    names, numbers = _number(kinds) if kinds else ((), [])
    numbers = iter(numbers)
    boxes = [[[*box[:4], next(numbers)] for box in row["boxes"]] for _, row in rows]
    return names, [np.array(each, np.float32).reshape(-1, 5) for each in boxes]


def is_box(box: Any) -> bool:
    """Whether this is [x, y, width, height, class], as fractions of an image."""
    if not isinstance(box, list) or len(box) != 5 or type(box[4]) not in (int, str):
        return False
    return all(type(x) in (int, float) and 0 <= x <= 1 for x in box[:4]) and min(box[2:4]) > 0


def _read_rows(file: Path) -> list[tuple[int, dict[str, Any]]]:
    """(line number, object) for each line, each with a `file_name` that exists."""
    try:
        lines = file.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text: {error}") from error
    existing = {str(path) for path in _walk(file.parent)}
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{file} line {number} is not valid JSON ({error.msg}, column {error.colno}): "
                'write one object a line, such as {"file_name": "a.png", "text": "a cat"}'
            ) from error
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise InputError(
                f'{file} line {number} names no image: it needs "file_name": "..." '
                f"relative to {file.parent}"
            )
        name = row["file_name"]
        if os.path.normpath(name) not in existing and not (file.parent / name).is_file():
            raise InputError(
                f"{file} line {number} names {name}, which is not in {file.parent}: "
                "correct the name or remove the line"
            )
        rows.append((number, row))
    if not rows:
        raise InputError(f"{file} has no lines: write one object an image, or remove the file")
    return rows


def _as_text(value: Any) -> str | list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    return str(value)


def _number(values: list[tuple[str, Any]]) -> tuple[tuple[str, ...], list[int]]:
    """Labels as class numbers: whole numbers stay, names are numbered in sorted order."""
    if all(type(value) is int for _, value in values):
        where, lowest = min(values, key=lambda item: item[1])
        if lowest < 0:
            raise InputError(f"{where} has label {lowest}: classes are numbered from 0")
        names = tuple(str(number) for number in range(max(value for _, value in values) + 1))
        return names, [value for _, value in values]
    names = tuple(sorted({str(value) for _, value in values}))
    numbers = {name: number for number, name in enumerate(names)}
    return names, [numbers[str(value)] for _, value in values]
