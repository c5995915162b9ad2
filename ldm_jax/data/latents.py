"""Cached latents as a training source: posteriors in array_record shards.

FOLDER/latents.json                      their metadata, see `Described`
FOLDER/latents-00003-of-00008.array_record
FOLDER/empty.npz                         the cached encoding of the empty caption, with captions

The posterior of an image, mean and log-variance before scaling, is kept, so that training draws new
latents each time, as it does when it encodes images. The mirrored image's posterior is kept, too,
since mirrored latents are not the latents of the mirrored image.

A record is a header (its length as 4 bytes, then JSON: name, label, text) and the values, C order
[mirrored, moment, h, w, c]: the image and its mirror image, mean and log-variance. If a frozen
conditioner encoded the captions, its output for each of them follows, field by field.
"""

import contextlib
import dataclasses
import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ldm_jax.data import faces, transforms
from ldm_jax.data.maps import MAPS
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError, reading
from ldm_jax.settings import check_types

INDEX, EMPTY = "latents.json", "empty.npz"
MOST = 2**20  # shards, or a side of an array
DTYPES = ("float32", "float16")
AGAIN = "what scripts/cache_latents.py wrote; run it again"


def entry(field: str) -> str:
    """The entry of a batch that holds a field of a `Cond` that was computed before."""
    return f"remembered_{field}"


@dataclasses.dataclass(frozen=True)
class Described:
    """The metadata of a folder of latents.

    source:      the encoded images, as `data.path` and split name them
    first_stage: a digest of the encoder's weights
    shape:       h, w, c of a latent
    flips:       whether mirror images were encoded, too
    drawn:       whether there is a variance; without one latents are the mean
    conditioner: a digest of the frozen conditioner that encoded the captions; "" without one
    tokens, vector, mask: shapes of its outputs in these fields of a Cond; () where unused
    """

    source: str
    first_stage: str
    image_size: int
    shape: tuple[int, int, int]
    flips: bool
    drawn: bool
    dtype: str
    shards: int
    class_names: tuple[str, ...]
    has_labels: bool
    has_captions: bool
    conditioner: str = ""
    tokens: tuple[int, ...] = ()
    vector: tuple[int, ...] = ()
    mask: tuple[int, ...] = ()

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape of a record's values."""
        return (1 + self.flips, 1 + self.drawn, *self.shape)

    @property
    def answered(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the conditioner's output for a caption, by field."""
        shapes = {"tokens": self.tokens, "vector": self.vector, "mask": self.mask}
        return {slot: shape for slot, shape in shapes.items() if shape}


def is_latents(path: str) -> bool:
    """Whether a folder contains latents."""
    return (Path(path) / INDEX).is_file()


def describe(folder: Path) -> Described:
    """The metadata of a folder of latents."""
    with reading(f"'{folder / INDEX}'", AGAIN):
        encoded = json.loads((folder / INDEX).read_text("utf-8"))
        encoded = {key: tuple(x) if isinstance(x, list) else x for key, x in encoded.items()}
        found = Described(**encoded)
        check_types(found, INDEX)
        sizes = found.shards, *found.shape, *(n for one in found.answered.values() for n in one)
        if not 0 < min(sizes) <= max(sizes) < MOST or found.dtype not in DTYPES:
            raise ValueError(f"it has shards or arrays of {sizes} values of {found.dtype}")
        return found


def shard(folder: Path, number: int, count: int) -> Path:
    """The file of a shard."""
    return folder / f"latents-{number:05}-of-{count:05}.array_record"


def pack(moments: np.ndarray, header: dict[str, Any], answers: np.ndarray | None = None) -> bytes:
    """One record; the last are the conditioner's outputs, [captions, values of all fields]."""
    encoded = json.dumps(header).encode()
    numbers = b"".join(
        np.ascontiguousarray(x).tobytes() for x in (moments, answers) if x is not None
    )
    return struct.pack("<I", len(encoded)) + encoded + numbers


def unpack(record: bytes, described: Described) -> tuple[np.ndarray, dict[str, Any]]:
    """The moments [mirrored, moment, h, w, c] and the header of a record.

    The conditioner's outputs are in the header, too, by field, [captions, ...].
    """
    (length,) = struct.unpack_from("<I", record)
    header = json.loads(record[4 : 4 + length])
    numbers = np.frombuffer(record, described.dtype, offset=4 + length)
    size = math.prod(described.stored)
    if described.answered:
        sizes = [math.prod(shape) for shape in described.answered.values()]
        slots = np.split(numbers[size:].reshape(-1, sum(sizes)), np.cumsum(sizes)[:-1], axis=1)
        header["answers"] = {
            slot: x.reshape(-1, *shape)
            for (slot, shape), x in zip(described.answered.items(), slots, strict=True)
        }
    return numbers[:size].reshape(described.stored), header


class Source:
    """The latents of a folder, as a random-access source of records.

    A record is a dict: `moments`, see the module; `name`; and where the images had them, `label`,
    `text`, and its encodings.
    """

    def __init__(self, path: str):
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        folder = Path(path)
        self.described = describe(folder)
        self.name = str(folder)
        count = self.described.shards
        files = [shard(folder, number, count) for number in range(count)]
        missing = [file.name for file in files if not file.exists()]
        if missing:
            raise InputError(
                f"{folder} lacks {len(missing)} of its {count} shards, such as {missing[0]}: run "
                "scripts/cache_latents.py again, which continues where it stopped"
            )
        with self._reading():
            self._records = ArrayRecordDataSource([str(file) for file in files])
        self.class_names = self.described.class_names
        self.object_names: tuple[str, ...] = ()
        nothing = "{} has latents without {}: use the images themselves, or other latents"
        self.absent = {
            field: nothing.format(folder, what)
            for field, what, there in (
                ("label", "labels", self.described.has_labels),
                ("text", "captions", self.described.has_captions),
                ("boxes", "boxes", False),
                *((name, name, False) for name in (*MAPS, *faces.FORMS)),
            )
            if not there
        }

    def empty(self) -> dict[str, np.ndarray]:
        """The conditioner's output for the empty caption, by field."""
        file, wanted = Path(self.name) / EMPTY, self.described.answered
        with reading(f"'{file}'", AGAIN), np.load(file, allow_pickle=False) as found:
            arrays = {slot: found[slot] for slot in wanted}
            for slot, x in arrays.items():
                if x.shape != wanted[slot] or x.dtype.kind not in "fb":
                    raise ValueError(f"{slot} is {x.dtype} {list(x.shape)}")
            return arrays

    def _reading(self) -> contextlib.AbstractContextManager:
        return reading(f"'{self.name}'", AGAIN)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with self._reading():
            moments, header = unpack(self._records[index], self.described)
        return {"moments": moments, **header}


class Reader:
    """Reads one example: (index, rng) -> dict, mirrored or not as images would be.

    `image` is [h, w, 2 c], mean and log-variance one after the other, or [h, w, c] where there is
    no variance. Cached encodings of a caption are among `derived`.
    """

    def __init__(self, data: Data, source: Source, fields: list[str], slots: Sequence[str] = ()):
        self._flip = data.flip
        self._source = source
        self._fields = fields
        self._slots = slots

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        record = self._source[index]
        mirrored = self._flip and transforms.flips(rng)
        moments = record["moments"][int(mirrored)]  # [moment, h, w, c]
        example = {field: record[field] for field in self._fields}
        texts, n = record.get("text"), 0
        if isinstance(texts, list) and ("text" in self._fields or self._slots):
            n = rng.integers(len(texts))
            example |= {"text": texts[n]} if "text" in self._fields else {}
        answers = {entry(slot): record["answers"][slot][n] for slot in self._slots}
        answers = {name: x.astype(np.float32) for name, x in answers.items()}
        image = np.concatenate(moments, axis=-1)
        return {
            **example,
            "image": image,
            "derived": answers,
            "index": index,
            "name": record["name"],
        }


def check(data: Data, source: Source) -> None:
    """Raises InputError for what was not encoded."""
    size, flips = source.described.image_size, source.described.flips
    for field, expected, wrong, why in (
        ("image_size", size, data.image_size not in (None, size), "as that of its images"),
        ("flip", False, data.flip and not flips, "or write it again with --flips"),
        ("buckets", 0, data.buckets, "or train on the images themselves, of any shape"),
        ("crop", "center", data.crop != "center", "as its images were before they were encoded"),
    ):
        if wrong:
            raise InputError(
                f"data.{field} is {getattr(data, field)}: expected {expected} of the latents in "
                f"{source.name}, {why}"
            )
