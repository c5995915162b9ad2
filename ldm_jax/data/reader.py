"""Reads one example: decoded, resized, cropped, mirrored, with a cache of resized images."""

import sys
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ldm_jax.data import buckets, faces, objects, transforms
from ldm_jax.data.maps import MAPS
from ldm_jax.data.readable import reason_of, too_many, too_small
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError
from ldm_jax.types import Derive

CACHE_BYTES = 2**30  # a data set that fits, resized, is kept in memory

NOTHING: Mapping[str, Derive] = MappingProxyType({})
# entry of a batch -> field of a record
FIELDS = {"label": "label", "tokens": "text", "boxes": "boxes", **{name: name for name in MAPS}}
FIELDS |= {name: name for name in faces.FORMS}


class Reader:
    """Reads and augments one example: (index, rng) -> dict.

    An unusable image is replaced by the next usable one. Called from several threads; the caches
    (resized images, unusable ones) change the speed, never the result.
    """

    def __init__(
        self,
        data: Data,
        source: Any,
        keys: tuple[str, ...],
        derive: Mapping[str, Derive] = NOTHING,
        sorted_by: buckets.Buckets | None = None,
    ):
        self._buckets = sorted_by
        self._data = data
        self._source = source
        self._derive = {key: derive[key] for key in keys if key in derive}
        self._fields = [field for key, field in FIELDS.items() if key in keys]
        fits = len(source) * data.image_size**2 * 3 <= CACHE_BYTES
        self._free = CACHE_BYTES if fits else 0
        self._cache: dict[int, dict[str, Any]] = {}
        self._bad: set[int] = set()
        self._failure: InputError | None = None
        self._lock = threading.Lock()

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        while (example := self.example(index)) is None:
            index = self._next(index)
        example = dict(example)
        if self._data.crop == "random":
            shape, size = example["image"].shape, self._size(index)
            example |= _cropped(example, transforms.random_corner(shape, size, rng), size)
        if self._data.flip and transforms.flips(rng):
            example |= _flipped(example)
        if isinstance(example.get("text"), list):
            example["text"] = example["text"][rng.integers(len(example["text"]))]
        example["derived"] = {name: make(example, rng) for name, make in self._derive.items()}
        return example

    def _size(self, index: int) -> transforms.Size:
        """The bucket of an example's image."""
        if not self._buckets:
            return self._data.image_size
        return self._buckets.sizes[self._buckets.of[index]]

    def _next(self, index: int) -> int:
        """The next example of the same size."""
        if not self._buckets:
            return (index + 1) % len(self._source)
        alike = self._buckets.members[self._buckets.of[index]]
        following = int(alike[(np.searchsorted(alike, index) + 1) % len(alike)])
        if all(int(other) in self._bad for other in alike):
            height, width = self._size(index)
            raise InputError(
                f"none of the {len(alike)} images of {self._source.name} in the bucket "
                f"{width}x{height} can be read: mend or remove them"
            )
        return following

    def example(self, index: int) -> dict[str, Any] | None:
        """The example without augmentation; None where its image cannot be read."""
        return self._cache.get(index) or self._read(index)

    def _read(self, index: int) -> dict[str, Any] | None:
        """The example with its image as uint8, [R, R, 3] or larger where the crop is random."""
        if self._failure:  # so that no thread continues
            raise self._failure
        if index in self._bad:
            return None
        record = self._source[index]
        size = self._size(index)
        try:
            image = transforms.decode(record["image"], self._data.background, size)
            maps = {name: MAPS[name].decode(record[name]) for name in MAPS if name in self._fields}
            face = {"face": faces.decode(record["face"])} if "face" in self._fields else {}
        except Exception as error:  # Pillow's decoders raise anything for a damaged file
            self._skip(index, record["name"], error)
            return None
        height, width = transforms.sides(size)
        if (image.height < height or image.width < width) and not self._data.upscale:
            raise too_small(record["name"], image.size, size)
        square = isinstance(size, int)
        pixels = np.asarray((transforms.resize if square else transforms.cover)(image, size))
        example = {field: record[field] for field in self._fields} | face
        example |= {"image": pixels, "index": index, "name": record["name"]}
        for name, decoded in maps.items():
            example[name] = MAPS[name].resize(decoded, *pixels.shape[:2])
        if self._data.crop == "center":
            example |= _cropped(example, transforms.center_corner(pixels.shape, size), size)
        nbytes = sum(x.nbytes for x in example.values() if isinstance(x, np.ndarray))
        with self._lock:
            if nbytes <= self._free and index not in self._cache:
                self._free -= nbytes
                self._cache[index] = example
        return example

    def _skip(self, index: int, name: str, error: Exception) -> None:
        """Counts an unusable image, and stops where there are too many."""
        reason, limit = reason_of(error), self._data.max_bad_images
        with self._lock:
            if index in self._bad or self._failure:
                return
            self._bad.add(index)
            count = len(self._bad)
            if count > limit or count == len(self._source):
                self._failure = too_many(count, limit, name, reason)
                raise self._failure from error
        print(f"warning: skipped {name}: {reason} ({count} of {limit})", file=sys.stderr)


def _cropped(
    example: dict[str, Any], corner: tuple[int, int], size: transforms.Size
) -> dict[str, Any]:
    """The fields of an example that change where its image is cropped to `size` from `corner`
    on."""
    (height, width), (h, w) = example["image"].shape[:2], transforms.sides(size)
    changed = {
        name: np.ascontiguousarray(transforms.crop(example[name], corner, size))
        for name in ("image", *MAPS)
        if name in example
    }
    window = (corner[0] / height, corner[1] / width, h / height, w / width)
    for name, moved in (("boxes", objects.crop), ("points", faces.crop)):
        if name in example:
            changed[name] = moved(example[name], window)
    return changed


def _flipped(example: dict[str, Any]) -> dict[str, Any]:
    """The fields of an example that change where its image is mirrored left to right."""
    changed = {name: example[name][:, ::-1] for name in ("image", *MAPS) if name in example}
    for name, mirrored in (("boxes", objects.flip), ("points", faces.flip)):
        if name in example:
            changed[name] = mirrored(example[name])
    return changed
