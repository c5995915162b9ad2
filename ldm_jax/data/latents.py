"""Latents that were encoded once, as a source of training: Gaussians in array_record shards.

FOLDER/latents.json                      what they are of, see `Described`
FOLDER/latents-00003-of-00008.array_record

What is kept of an image is its posterior, mean and log-variance before scaling, so that training
draws from it anew each time, as it does when it encodes; and that of the mirrored image, since
mirroring latents is not encoding the mirror image.

A record is a header (its length as 4 bytes, then JSON: name, label, text) and the numbers, C order
[mirrored, moment, h, w, c]: the image and its mirror image, mean and log-variance.
"""

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from ldm_jax import config
from ldm_jax.data import transforms
from ldm_jax.errors import InputError

INDEX = "latents.json"


@dataclasses.dataclass(frozen=True)
class Described:
    """What the latents of a folder are.

    source:      the images that were encoded, as `data.path` and split name them
    first_stage: a digest of the weights that encoded them
    shape:       h, w, c of a latent
    flips:       whether mirror images were encoded, too
    drawn:       whether there is a variance; without one latents are the mean
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

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape of a record's numbers."""
        return (1 + self.flips, 1 + self.drawn, *self.shape)


def is_latents(path: str) -> bool:
    """Whether a folder holds latents."""
    return (Path(path) / INDEX).is_file()


def describe(folder: Path) -> Described:
    """What a folder of latents says of itself."""
    try:
        said = json.loads((folder / INDEX).read_text())
        said = {key: tuple(x) if isinstance(x, list) else x for key, x in said.items()}
        return Described(**said)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"'{folder / INDEX}' does not describe latents ({error}): write them again with "
            "scripts/cache_latents.py"
        ) from error


def shard(folder: Path, number: int, count: int) -> Path:
    """The file of a shard."""
    return folder / f"latents-{number:05}-of-{count:05}.array_record"


def pack(moments: np.ndarray, header: dict[str, Any]) -> bytes:
    """One record."""
    said = json.dumps(header).encode()
    return struct.pack("<I", len(said)) + said + np.ascontiguousarray(moments).tobytes()


def unpack(record: bytes, described: Described) -> tuple[np.ndarray, dict[str, Any]]:
    """The moments [mirrored, moment, h, w, c] and the header of a record."""
    (length,) = struct.unpack_from("<I", record)
    header = json.loads(record[4 : 4 + length])
    numbers = np.frombuffer(record, described.dtype, offset=4 + length)
    return numbers.reshape(described.stored), header


class Source:
    """The latents of a folder, as a random-access source of records.

    A record is a dict: `moments`, see the module; `name`; and where they were there, `label` and
    `text`.
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
                "scripts/cache_latents.py again, which goes on where it stopped"
            )
        self._records = ArrayRecordDataSource([str(file) for file in files])
        self.class_names = self.described.class_names
        self.object_names: tuple[str, ...] = ()
        nothing = "{} holds latents without {}: use the images themselves, or other latents"
        self.absent = {
            field: nothing.format(folder, what)
            for field, what, there in (
                ("label", "labels", self.described.has_labels),
                ("text", "captions", self.described.has_captions),
                ("boxes", "boxes", False),
                ("segmentation", "class maps", False),
            )
            if not there
        }

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        moments, header = unpack(self._records[index], self.described)
        return {"moments": moments, **header}

    def __repr__(self) -> str:
        return f"Source({self.name!r}, {len(self)} latents)"


class Reader:
    """Reads one example: (index, rng) -> dict, mirrored or not as images would be.

    `image` is what takes its place: [h, w, 2 c], mean and log-variance one after the other, or
    [h, w, c] where there is no variance.
    """

    def __init__(self, data: config.Data, source: Source, fields: list[str]):
        self._flip = data.flip
        self._source = source
        self._fields = fields

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        record = self._source[index]
        mirrored = self._flip and transforms.flips(rng)
        moments = record["moments"][int(mirrored)]  # [moment, h, w, c]
        example = {field: record[field] for field in self._fields}
        if isinstance(example.get("text"), list):
            example["text"] = example["text"][rng.integers(len(example["text"]))]
        image = np.concatenate(moments, axis=-1)
        return {**example, "image": image, "derived": {}, "index": index, "name": record["name"]}


def check(data: config.Data, source: Source) -> None:
    """Raises InputError where latents are asked for what was not encoded."""
    there = source.described
    if data.image_size not in (None, there.image_size):
        raise InputError(
            f"data.image_size is {data.image_size}: expected {there.image_size}, of which the "
            f"latents in {source.name} are"
        )
    if data.flip and not there.flips:
        raise InputError(
            f"data.flip is True: expected False, since {source.name} has no latents of mirror "
            "images; or write it again with --flips True"
        )
    if data.crop != "center":
        raise InputError(
            f"data.crop is {data.crop}: expected center, as the images of {source.name} were "
            "cropped before they were encoded"
        )
