"""A plain folder of images, with labels or captions where it has them.

Supported: images alone; one sub-folder a class; a caption file for each image, see `captions`; and
what `metadata`, `coco`, `pairs`, `repeats` and `shards` read.
"""

import functools
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ldm_jax.data import captions, coco, faces, metadata, pairs, repeats, shards
from ldm_jax.data.image_set import EXTENSIONS, ImageSet, children, find_images, is_image, shown
from ldm_jax.data.maps import MAPS
from ldm_jax.data.metadata import nfc
from ldm_jax.data.shards import SPLITS
from ldm_jax.data.table import Table
from ldm_jax.data.transforms import Encoded
from ldm_jax.errors import InputError, others
from ldm_jax.settings import at_home

DESCRIBED = {  # fields that only metadata can have -> their format
    "boxes": '"boxes": [[x, y, width, height, class], ...] in parts of the image',
    **{name: kind.form for name, kind in MAPS.items()},
    **faces.FORMS,
}
FILES = (*MAPS, "face")  # fields that name a file
TABLES = {
    ".json",
    ".jsonl",
    ".csv",
    ".tsv",
    ".parquet",
    ".arrow",
    ".toml",
    ".tar",
    ".zip",
    ".tfrecord",
}
PAIRED = pairs.HINTS | pairs.DRAWN


class Folder:
    """A random-access source of records.

    A record is a dict: `image`, the file's path, or what reads it in a shard; `name`, for messages;
    and where the folder has them, `label`, an int, `text`, a str or a list of them, `boxes`, see
    `objects`, its `maps.MAPS` by name, in the form of `image`, `face`, a path, and `points`, see
    `faces`.
    """

    def __init__(self, name: str, records: list[dict[str, Any]], absent: dict[str, str]):
        self.name = name
        self.absent = absent  # missing fields ("label", "text") -> why, and a remedy
        self.class_names: tuple[str, ...] = ()
        self.object_names: tuple[str, ...] = ()
        self.left_out = ""  # what of the folder is no part of the set, by kind
        self.note = ""  # how the images were found, where that is not plain
        self.checked: int | None = None  # images to read before training; None: the usual number
        self.warnings: list[str] = []
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = {"name": shown(self._records[index]["image"]), **self._records[index]}
        if "text_file" in record:
            record["text"] = captions.read(record.pop("text_file"))
        return record


def open_folder(
    path: str, *, split: str, caption: str, label: str, repeated: bool = False
) -> Folder:
    """Finds the images under `path`, in sorted order, and their annotations.

    Args:
        repeated: names of folders say how often their images come, see `repeats`.

    Raises InputError without such a folder, without images, or for metadata that cannot be used.
    """
    root = at_home(path)
    if not os.path.isdir(root):
        what = "does not exist"
        if os.path.exists(root):
            packed = root.suffix in (".tar", ".parquet")
            remedy = "give the folder that it is in" if packed else "archives have to be unpacked"
            what = f"is a file, not a folder ({remedy})"
        raise InputError(
            f"--data.path {path} {what}: expected a folder of images, tfds:NAME or shapes"
        )
    files = find_images(_enter(root, split))
    table = _table(files, split, repeated)
    return _described(files, table, caption, label) if table else _without_metadata(files, caption)


def _table(files: ImageSet, split: str | None, repeated: bool = False) -> Table | None:
    """What is said of a folder's images, in rows; None: nothing, or in class folders and captions.

    Raises:
        InputError: it cannot be used.
    """
    file, rows = metadata.read(files)
    if file and repeated:
        raise InputError(
            f"--data.repeats reads folders such as 10_cat, but {files.root} has {file}: remove one"
        )
    if file:
        return Table(rows, (file,), f"without a line in {file}")
    if repeated:
        return repeats.read(files)
    if not files.images:
        return shards.read(files, split)
    if annotated := coco.read(files, split):
        return annotated
    return None if any(map(_is_table, files.others)) else pairs.read(files)


def list_images(path: str | Path) -> ImageSet:
    """The images of a folder without their annotations: where it has metadata, those listed there.

    Raises:
        InputError: a folder that may not be read, or metadata that cannot be used.
    """
    files = find_images(path)
    table = _table(files, None) if files.images else None
    return _listed(files, table) if table else files


def list_encoded(path: str | Path) -> tuple[list[Encoded], str]:
    """The images of a folder, in files of their own or in shards, and what was left out.

    Raises:
        InputError: see `list_images`, or shards that cannot be read.
    """
    files = list_images(path)
    if files.images or not (table := shards.read(files, None)):
        return files.paths, files.summary()
    return [row.image for row in table.rows], _summary(files, table)


def _summary(files: ImageSet, table: Table, used: Iterable[str] = ()) -> str:
    """What of a set was left out."""
    used, empty = {*table.files, *used}, "folders without images"
    left_out = {**files.left_out, **table.left_out}
    folders = [
        folder for folder in left_out.pop(empty, ()) if not any(x.startswith(folder) for x in used)
    ]
    left_out |= {empty: folders} if folders else {}
    return files._replace(left_out=left_out).summary(used)


def _listed(files: ImageSet, table: Table, maps: Iterable[str] = ()) -> ImageSet:
    """The set without the images that its rows do not name, as images or as `maps`."""
    names = {row.image for row in table.rows}.union(maps)
    bare = [image for image in files.images if os.path.join(files.root, image) not in names]
    return files.without(table.others, bare)


def _enter(root: Path, split: str) -> Path:
    """The data set's folder: past wrappers that archives make, and into the split."""
    while True:
        folders, files = children(root)
        if metadata.has_metadata(files) or any(map(is_image, files)) or not folders:
            return root
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
            return root


def _is_wrapper(folder: Path) -> bool:
    """Whether this only sub-folder contains the data set rather than the images of one class."""
    folders, files = children(folder)
    return metadata.has_metadata(files) or (bool(folders) and not any(map(is_image, files)))


def _without_metadata(files: ImageSet, caption: str) -> Folder:
    root, images = files.root, files.images
    if not images:
        left = f" but {files.summary()}" if files.summary() else ""
        raise InputError(
            f"{root} has no images (.{', .'.join(EXTENSIONS)}){left}: "
            "point --data.path at a folder that does"
        )
    absent = {
        name: f"{root} has no {name}: write a metadata.jsonl with {what}, for each image"
        for name, what in DESCRIBED.items()
    }
    classes, fault = _classes(files)
    if fault:
        absent["label"] = fault
    texts = captions.beside(files)
    bare = [image for image in images if image not in texts]
    if bare:
        absent["text"] = (
            f"{shown(root / bare[0])} has no caption{others(len(bare) - 1, len(images))}: write "
            f"one next to it as {shown(Path(bare[0]).stem)}.txt, or a metadata.jsonl with a line "
            f'{{"file_name": ..., "{caption}": ...}} for each image'
        )
    numbers = {name: number for number, name in enumerate(classes)}
    records: list[dict[str, Any]] = [{"image": os.path.join(root, image)} for image in images]
    for record, image in zip(records, images, strict=True):
        if not fault:
            record["label"] = numbers[nfc(image.partition("/")[0])]
        if not bare:
            record["text_file"] = os.path.join(root, texts[image])
    folder = Folder(str(root), records, absent)
    folder.class_names = classes
    folder.left_out = files.summary(texts.values())
    folder.warnings = _layouts_of_others(files, classes)
    return folder


def _layouts_of_others(files: ImageSet, classes: tuple[str, ...]) -> list[str]:
    """Warnings where a folder looks as if it were meant otherwise than it is read."""
    found = []
    unread = [file for file in files.others if _is_table(file)]
    if unread:
        names = ", ".join(unread[:3]) + " ..." * (len(unread) > 3)
        found.append(
            f"not read in {files.root}: {names}; labels and captions are read from class folders, "
            f".txt files or {', '.join(metadata.METADATA)}"
        )
    numbered = [re.search(r"(^|/)\d+_[^/]+(?=/)", image) for image in files.images]
    if classes and all(numbered):
        found.append(
            f"folders such as {numbered[0][0]} are read as classes, or parts of them; where they "
            "are kohya's, --data.repeats reads their numbers as repeats"
        )
    if len(classes) > 1 and set(map(str.lower, classes)) <= PAIRED:
        found.append(
            f"the folders {' and '.join(classes)} are read as classes, not as pairs of a condition "
            "and an image"
        )
    return found


def _is_table(file: str) -> bool:
    """Whether a file that is not read may be one that describes images."""
    inside, name = os.path.split(file)
    ending = os.path.splitext(name)[1].lower()
    if inside:
        return name in metadata.METADATA or ending == ".parquet"
    return ending in TABLES and name != "report.json"


def _classes(files: ImageSet) -> tuple[tuple[str, ...], str | None]:
    """Names of the classes, which are sub-folders; or () and why there are none."""
    root, outside = files.root, [image for image in files.images if "/" not in image]
    if len(outside) == len(files.images):
        return (), (
            f"{root} has no labels: put the images of each class into a folder of its own, "
            "or write metadata.jsonl"
        )
    if outside:
        return (), (
            f"{shown(root / outside[0])} lies outside of the class folders"
            f"{others(len(outside) - 1)}: move it into one of them, or out of the data"
        )
    names = tuple(sorted({nfc(image.partition("/")[0]) for image in files.images}))
    if bad := next((name for name in names if metadata.label_fault(name)), None):
        return (), (
            f"the name of the class folder {shown(root / bad)!r} is not one line of UTF-8 text: "
            "rename it"
        )
    return names, None


def _described(files: ImageSet, table: Table, caption: str, label: str) -> Folder:
    """The images of a table, with what it says of each of them."""
    rows, absent = table.rows, {}
    for name, field, fault in (
        ("text", caption, metadata.caption_fault),
        ("label", label, metadata.label_fault),
    ):
        if reason := metadata.fault_of(rows, field, fault):
            fields = sorted({key for row in rows for key in row.fields})
            absent[name] = (
                f"{reason}: correct it, or choose from {', '.join(fields) or 'no fields'} with "
                f"--data.{'caption' if name == 'text' else 'label'}"
            )
    find = metadata.finder(files)
    for name, what in DESCRIBED.items():
        if reason := metadata.fault_of(rows, name, functools.partial(_fault, name, find)):
            absent[name] = f"{reason}: expected {what}"

    records: list[dict[str, Any]] = [{"image": row.image} for row in rows]
    folder = Folder(str(files.root), records, absent)
    columns: dict[str, list[Any]] = {}
    if "text" not in absent:
        columns["text"] = [row.fields[caption] for row in rows]
    if "label" not in absent:
        try:
            labels = [(row.where, row.fields[label]) for row in rows]
            known = table.classes.get(label, ())
            folder.class_names, columns["label"] = metadata.number_classes(labels, known)
        except InputError as error:  # only a run that reads labels is stopped
            absent["label"] = str(error)
    if "boxes" not in absent:
        known = table.classes.get("boxes", ())
        folder.object_names, columns["boxes"] = metadata.read_boxes(rows, known)
    for name in set(FILES).difference(absent):
        values = [row.fields[name] for row in rows]
        columns[name] = [value if callable(value) else find(value) for value in values]
    if "points" not in absent:
        columns["points"] = [np.array(row.fields["points"], np.float32) for row in rows]
    for name, column in columns.items():
        for record, value in zip(records, column, strict=True):
            record[name] = value
    named = {path for name in FILES for path in columns.get(name, ()) if not callable(path)}
    read = [os.path.relpath(path, files.root) for path in named]
    folder.note, folder.checked = table.note, table.checked
    folder.left_out = _summary(_listed(files, table, named), table, read)
    return folder


def _fault(name: str, find: Callable[[str], str | None], value: Any) -> str | None:
    """Why a value of one of DESCRIBED cannot be; boxes are checked where they are read."""
    if name == "points":
        return None if faces.are_points(value) else f"has points {str(value)[:60]}"
    if name in FILES and not callable(value) and not (isinstance(value, str) and find(value)):
        return f"names {value!r}, which is no file there"
    return None
