"""Which files below a folder are the images of a set: one rule for training, evaluation and tools.

Links are followed, once in each sub-folder of the set. Left out, by kind: what is hidden, what
operating systems and NAS servers write, what sample.py writes beside its samples (grid, previews,
animation), other formats, and sub-folders without images.
"""

import functools
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ldm_jax.errors import InputError
from ldm_jax.settings import at_home

EXTENSIONS = ("png", "jpg", "jpeg", "jfif", "jpe", "webp", "avif", "bmp", "gif", "tif", "tiff")
EXTENSIONS += ("apng", "jp2", "ppm", "pgm", "pbm", "pnm", "tga", "qoi")
SYSTEM = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information"}
SYSTEM |= {"lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini", "__pycache__"}
BESIDE = {"grid.png", "interpolation.gif", "walk.gif", "previews"}  # what sample.py writes, too
REPORT = {"ldm_jax", "request", "generated", "sampler"}  # keys of a report.json of ours
SHOWN, KINDS = 3, 8  # names of a kind, and kinds, that a summary lists


class ImageSet(NamedTuple):
    """Files below a folder, relative to it, in sorted order.

    others:   no images: captions, metadata, other formats
    left_out: names by kind, `others` not among them
    """

    root: Path
    images: list[str]
    others: list[str]
    left_out: dict[str, list[str]]

    @property
    def paths(self) -> list[Path]:
        """The images, with their folder."""
        return [self.root / image for image in self.images]

    def without(self, kind: str, images: list[str]) -> "ImageSet":
        """The set after `images`, too, are left out."""
        if not images:
            return self
        gone = set(images)
        kept = [image for image in self.images if image not in gone]
        return self._replace(images=kept, left_out=self.left_out | {kind: images})

    def summary(self, used: Iterable[str] = ()) -> str:
        """What was left out, such as "2 hidden (.git/, ._a.png), 1 .heic (b.heic)"; "" if nothing.

        Args:
            used: those of `others` that were read.
        """
        kinds = {kind: list(names) for kind, names in self.left_out.items()}
        for file in sorted(set(self.others).difference(used)):
            kinds.setdefault(os.path.splitext(file)[1].lower() or "other", []).append(file)
        each = [f"{len(names)} {kind} ({_listed(names)})" for kind, names in kinds.items()]
        return ", ".join(each[:KINDS] + ["..."] * (len(each) > KINDS))


def find_images(folder: str | Path) -> ImageSet:
    """The images at and below a folder, by the rule of this file.

    Raises:
        InputError: a folder that may not be read.
    """
    root = at_home(folder)
    top = os.path.realpath(root)
    images, others, left_out, visited = [], [], {}, set()
    tops, stack = [], [""]  # folders end with a slash
    while stack:
        within = stack.pop()
        real, first = os.path.realpath(root / within), within.partition("/")[0]
        if within and (real == top or (first, real) in visited):
            left_out.setdefault("links to folders read already", []).append(within)
            continue
        visited.add((first, real))
        folders = []
        for name, is_folder, kind in _entries(root / within):
            where = within + name + "/" * is_folder
            if kind:
                left_out.setdefault(kind, []).append(where)
            else:
                (folders if is_folder else images if is_image(name) else others).append(where)
        tops = tops if within else folders
        stack += reversed(folders)
    filled = {image.partition("/")[0] for image in images}
    if empty := [each for each in tops if each[:-1] not in filled]:
        left_out["folders without images"] = empty
    by_parts = functools.partial(sorted, key=lambda path: path.split("/"))
    return ImageSet(root, by_parts(images), by_parts(others), left_out)


def children(folder: Path) -> tuple[list[str], list[str]]:
    """Sorted names of the folders and files in `folder` that are not left out."""
    kept = [(name, is_folder) for name, is_folder, kind in _entries(folder) if not kind]
    return [name for name, is_it in kept if is_it], [name for name, is_it in kept if not is_it]


def is_image(name: str) -> bool:
    return name.rpartition(".")[2].lower() in EXTENSIONS


def shown(path: object) -> str:
    """A path in one line of UTF-8, as messages need it; what is not printable is escaped."""
    text = str(path)
    return text if text.isprintable() else repr(text)[1:-1]


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join([*map(shown, names[:SHOWN]), *([f"{more} more"] if more > 0 else [])])


def _entries(folder: Path) -> list[tuple[str, bool, str]]:
    """What is in a folder, by name: (name, whether a folder, the kind by which it is left out)."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, *_what(entry)) for entry in entries)
    except OSError as error:
        raise InputError(
            f"{shown(folder)} may not be read ({error.strerror}): make it readable, or move it out "
            "of the data"
        ) from error
    drawn = any(name == "report.json" for name, *_ in found) and _is_ours(folder / "report.json")

    def kind(name: str, fault: str) -> str:
        if name.startswith("."):
            return "hidden"
        if name.lower() in SYSTEM:
            return "of the system"
        return "beside samples" if drawn and name in BESIDE else fault

    return [(name, is_folder, kind(name, fault)) for name, is_folder, fault in found]


def _what(entry: os.DirEntry) -> tuple[bool, str]:
    """Whether a folder, and why it cannot be opened.

    A broken link with the name of an image counts as one, and is named when it is read.
    """
    try:
        is_folder = entry.is_dir()
        special = not is_folder and not entry.is_file()
    except OSError:  # a link to itself, or into a folder that may not be entered
        is_folder, special = False, True
    if special and entry.is_symlink() and not os.path.exists(entry.path):
        return False, "" if is_image(entry.name) else "broken links"
    return is_folder, "neither files nor folders" if special else ""


def _is_ours(report: Path) -> bool:
    """Whether sample.py or evaluate.py wrote this report."""
    try:
        found = json.loads(report.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and bool(REPORT & found.keys())
