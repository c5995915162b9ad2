"""Tars of webdataset and img2dataset: files of one name are a sample, such as a.jpg and a.txt.

Each tar is passed once for where its files are; images are then read where they lie. Nothing is
unpacked, and of other endings, such as .pyd and .pickle, nothing is read.
"""

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldm_jax.data.image_set import EXTENSIONS, is_image, shown
from ldm_jax.data.maps import MAPS
from ldm_jax.data.table import Row, Table
from ldm_jax.errors import InputError, reading

CAPTIONS = ("txt", "caption")  # of several, the first is read
MOST = 2**24  # bytes of a file of text
EXPECTED = "a whole tar, not compressed: decompress it, or copy it again"


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar: called, it reads the bytes."""

    path: str
    name: str
    start: int
    size: int

    def __call__(self) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(self.start)
            return file.read(self.size)

    def __str__(self) -> str:
        return f"{self.path}/{self.name}"


def read_shards(root: Path, files: list[str]) -> Table:
    """The samples of tars, in their order.

    Raises:
        InputError: a tar that cannot be read, or a text or label in it.
    """
    rows, left_out = [], {}
    for name in files:
        path = root / name
        for key, sample in _samples(path, left_out).items():
            images = [each for each in sample if each in EXTENSIONS]
            for again in images[1:]:
                left_out.setdefault("further images of a sample", []).append(sample[again].name)
            if images:
                where = shown(f"{path} sample {key}")
                rows.append(Row(where, sample[images[0]], _fields(sample)))
            else:
                left_out.setdefault("samples without an image", []).append(f"{name}/{key}")
    if not rows:
        raise InputError(
            f"{root / files[0]} has no images: expected files such as a.jpg and a.txt in the tar"
        )
    return Table(rows, tuple(files), left_out=left_out)


def _samples(path: Path, left_out: dict[str, list[str]]) -> dict[str, dict[str, Member]]:
    """Name -> ending -> file. Names end at the first dot, as webdataset has it."""
    samples: dict[str, dict[str, Member]] = {}
    for member in _members(path, left_out):
        folder, slash, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        ending = ending.lower()
        last = ending.rpartition(".")[2]
        if not stem:
            left_out.setdefault("hidden", []).append(f"{path.name}/{member.name}")
        elif ending in ("json", "cls", *CAPTIONS) or _is_map(ending) or ending in EXTENSIONS:
            samples.setdefault(folder + slash + stem, {})[ending] = member
        else:
            kind = shown(f".{last}") if last else "other"
            left_out.setdefault(kind, []).append(f"{path.name}/{member.name}")
    return samples


def _members(path: Path, left_out: dict[str, list[str]]) -> Iterator[Member]:
    """The plain files in a tar; others, such as links, are left out.

    Raises:
        InputError: it is damaged, cut off or compressed.
    """
    size = path.stat().st_size
    with reading(f"'{shown(path)}'", EXPECTED), tarfile.open(path, "r:") as tar:
        for each in tar:
            if each.offset_data + each.size * each.isreg() > size:
                raise ValueError(f"it ends within {each.name}")
            name = each.name.removeprefix("./")
            if each.isreg() and not each.issparse():
                yield Member(str(path), name, each.offset_data, each.size)
            elif not each.isdir():
                left_out.setdefault("no plain files", []).append(f"{path.name}/{name}")
        tar.fileobj.seek(tar.offset)  # tarfile stops without a word at a damaged header
        if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise ValueError(f"it is damaged at byte {tar.offset}")


def _is_map(ending: str) -> bool:
    """Whether files such as a.depth.png are maps of a.jpg."""
    return ending.partition(".")[0] in MAPS and is_image(ending)


def _fields(sample: dict[str, Member]) -> dict[str, Any]:
    """What the files of a sample say of its image."""
    fields: dict[str, Any] = {}
    if "json" in sample:
        with reading(shown(str(sample["json"])), "an object of names and values in JSON"):
            fields |= dict(json.loads(_text(sample["json"])).items())
    if caption := next((each for each in CAPTIONS if each in sample), None):
        fields["text"] = " ".join(_text(sample[caption]).split())
    if "cls" in sample:
        label = _text(sample["cls"]).strip()
        fields["label"] = int(label) if re.fullmatch(r"-?\d{1,9}", label) else label
    return fields | {each.partition(".")[0]: x for each, x in sample.items() if _is_map(each)}


def _text(member: Member) -> str:
    if member.size > MOST:
        raise InputError(
            f"{shown(str(member))} has {member.size} bytes: expected a text of at most {MOST}"
        )
    try:
        return member().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown(str(member))} is not UTF-8 text: {error}") from error
