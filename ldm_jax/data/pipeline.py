"""Sources of images, and the endless stream of batches drawn from one.

The stream is one sequence of positions: epoch after epoch, each a new permutation of the examples.
Host `p` of `n` takes positions p, p + n, p + 2n, ...; what is random about an example depends on
the seed and its position alone. So the batches do not depend on the number of hosts or threads, and
where the stream stands is one integer.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import grain
import numpy as np
from PIL import UnidentifiedImageError

from ldm_jax import config
from ldm_jax.conditioning.remembered import entry
from ldm_jax.data import buckets, latents, objects, transforms
from ldm_jax.data.folder import open_folder
from ldm_jax.errors import InputError

CHECKED_SIZES = 2000  # images whose size is looked up before training starts
CHECKED_IMAGES = 200  # images that are decoded before training starts
ENDLESS = 2**48  # positions of a stream
CACHE_BYTES = 2**30  # a data set that fits, resized, is kept in memory

Derive = Callable[[dict[str, Any], np.random.Generator], np.ndarray]
NOTHING: Mapping[str, Derive] = MappingProxyType({})


class DataInfo(NamedTuple):
    """What is known about a data set without decoding it."""

    num_examples: int
    class_names: tuple[str, ...]  # () where there are no labels
    has_captions: bool
    object_names: tuple[str, ...] = ()  # classes of what lies in boxes; () where there are none


def open_source(data: config.Data) -> tuple[Any, DataInfo]:
    """Opens `data.path`, and checks that its images are large enough.

    The source has `len` and `[index]` -> dict: `image` (a path or encoded bytes, see
    `transforms.decode`), `name`, and where present `label` (int), `text` (str, or a list of
    alternatives), `boxes` (see `objects`), `segmentation` (a path or encoded bytes) and `depth` (a
    path). Of a folder of latents, see `latents`.

    Raises InputError where the data cannot be used.
    """
    if not data.path:
        raise InputError("data.path is not set: give --data.path a folder, tfds:NAME or shapes")
    if data.image_size is None:
        raise InputError("data.image_size is not set: give --data.image-size in pixels")
    source = _open(data)
    if isinstance(source, latents.Source):
        latents.check(data, source)
    elif not data.upscale and not data.buckets:  # or else `buckets.sort` does
        _check_sizes(source, data.image_size)
    has_captions = "text" not in source.absent
    info = DataInfo(len(source), source.class_names, has_captions, source.object_names)
    return source, info


def _open(data: config.Data) -> Any:
    fields = {"split": data.split, "caption": data.caption, "label": data.label}
    if latents.is_latents(data.path):
        return latents.Source(data.path)
    if data.path != "shapes" and not data.path.startswith("tfds:"):
        return open_folder(data.path, **fields)
    from ldm_jax.data import shapes, tfds  # TFDS takes a second to import

    fields["object_label"] = data.object_label
    if data.path == "shapes":
        return tfds.Source(shapes.builder(data.image_size, data.shapes), **fields)
    return tfds.Source(tfds.builder(data.path.removeprefix("tfds:")), **fields)


def captions(source: Any, limit: int = 100_000) -> list[str]:
    """Captions of at most `limit` examples spread over the source; no image is decoded."""
    _require(source, "text")
    texts = []
    for index in _spread(len(source), limit):
        text = source[index]["text"]
        texts += [text] if isinstance(text, str) else text
    return texts


def batches(
    data: config.Data,
    source: Any,
    *,
    seed: int,
    keys: tuple[str, ...],
    tokenize: Callable[[str], np.ndarray] | None = None,
    derive: Mapping[str, Derive] = NOTHING,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """The endless stream of batches, of which this host gets b = batch_size / process_count each.

    Yields dicts of arrays: `image` float32 [b, R, R, 3] in [-1, 1], or with `data.buckets` [b, H,
    W, 3] with one of their sizes for all of a batch; with "label" in `keys`, `label` int32 [b];
    with "tokens" in `keys`, `tokens` int32 [b, L], `tokenize` of a caption; and of `derive` those
    that `keys` names, each of which makes an array of an example as the reader gives
    it (`image` uint8 [R, R, 3], `index`, and with "boxes", "segmentation" or "depth" in `keys`
    these, moved along with crop and flip) and of the example's random numbers. Of latents, `image`
    is their posterior, see `latents.Reader`. Every example comes once an epoch, on one host.
    `get_state` and `set_state` (and so Grain's checkpoints) continue with exactly the batch that
    was next.

    Raises InputError at once where the settings do not suit the data, and from `next` where more
    than `data.max_bad_images` images cannot be read.
    """
    check_batch(data, source, keys, process_count)
    sorted_by = in_buckets(data, source)
    if "tokens" in keys and tokenize is None:
        raise ValueError("tokens are asked for without a tokenizer")
    if "tokens" in keys:
        tokenize = _remembered(tokenize)
    seed %= 2**32
    stream = (
        grain.MapDataset.range(ENDLESS).map(buckets.Order(sorted_by, data.batch_size, seed))
        if sorted_by
        else grain.MapDataset.range(len(source)).shuffle(seed=seed).repeat()
    )
    stream = (
        stream.random_map(_reader(data, source, keys, derive, sorted_by), seed=seed)
        .slice(slice(process_index, None, process_count))
        .batch(
            data.batch_size // process_count,
            drop_remainder=True,
            batch_fn=lambda examples: _collate(examples, tokenize),
        )
    )
    options = grain.ReadOptions(num_threads=data.threads, prefetch_buffer_size=data.threads + 1)
    return iter(stream.to_iter_dataset(options))


def in_buckets(data: config.Data, source: Any) -> buckets.Buckets | None:
    """Which size each image has, where `data.buckets` asks for it."""
    if not data.buckets:
        return None
    among = buckets.sizes(data.image_size, data.buckets, data.bucket_aspect)
    return buckets.sort(source, tuple(among), data.upscale)


def _reader(
    data: config.Data,
    source: Any,
    keys: tuple[str, ...],
    derive: Mapping[str, Derive],
    sorted_by: buckets.Buckets | None = None,
) -> Callable[[int, np.random.Generator], dict[str, Any]]:
    """What reads one example: (index, rng) -> dict."""
    if isinstance(source, latents.Source):
        slots = [slot for slot in source.described.answered if entry(slot) in keys]
        return latents.Reader(data, source, [_FIELDS[key] for key in keys if key in _FIELDS], slots)
    return _Reader(data, source, keys, derive, sorted_by)


def in_order(
    data: config.Data, source: Any, indices: range, keys: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Examples as they are, in order: `image` uint8 [R, R, 3], `name`, and the fields of `keys`.

    Cropped in the middle and not mirrored; those that cannot be read are left out, with a warning.
    """
    read = _Reader(replace(data, crop="center", flip=False), source, keys)
    with ThreadPoolExecutor(max(1, data.threads)) as pool:
        for start in range(0, len(indices), data.batch_size):
            some = pool.map(read.example, indices[start : start + data.batch_size])
            yield from (example for example in some if example is not None)


def once(
    data: config.Data,
    source: Any,
    count: int,
    keys: tuple[str, ...] = (),
    derive: Mapping[str, Derive] = NOTHING,
) -> grain.DatasetIterator:
    """Batches of `count` examples spread evenly over the source, each once and in its order.

    Yields what `batches` does, but for captions; the last may be smaller. Images are cropped in the
    middle and not mirrored. An image that cannot be read is replaced by the next one that can.
    """
    read = _Reader(replace(data, crop="center", flip=False), source, keys, derive)
    stream = (
        grain.MapDataset.source(_spread(len(source), count))
        .random_map(read, seed=0)
        .batch(data.batch_size, batch_fn=lambda examples: _collate(examples, None))
    )
    options = grain.ReadOptions(num_threads=data.threads, prefetch_buffer_size=data.threads + 1)
    return iter(stream.to_iter_dataset(options))


def check_batch(
    data: config.Data, source: Any, keys: tuple[str, ...], process_count: int = 1
) -> None:
    """Raises InputError where `batches` could not be made of this source."""
    if data.batch_size < 1 or data.batch_size % process_count:
        raise InputError(
            f"data.batch_size {data.batch_size} cannot be shared by {process_count} hosts: "
            f"make --data.batch-size a positive multiple of {process_count}"
        )
    if len(source) < data.batch_size:
        raise InputError(
            f"{source.name} has {len(source)} examples, fewer than one batch of {data.batch_size}: "
            f"lower --data.batch-size to {len(source)} or less"
        )
    for key in keys:
        if key in _FIELDS:
            _require(source, _FIELDS[key])


def _remembered(tokenize: Callable[[str], np.ndarray]) -> Callable[[str], np.ndarray]:
    """Tokenizes a caption once, and one at a time: not every tokenizer is safe to share."""
    lock = threading.Lock()

    @lru_cache(2**16)
    def look_up(text: str) -> np.ndarray:
        with lock:
            return np.asarray(tokenize(text), np.int32)

    return look_up


def _require(source: Any, field: str) -> None:
    if field in source.absent:
        raise InputError(source.absent[field])


def _collate(
    rows: list[dict[str, Any]], tokenize: Callable[[str], np.ndarray] | None
) -> dict[str, np.ndarray]:
    """Examples to a batch; as one operation over all of them, this is where floats appear."""
    batch = {name: np.stack([row["derived"][name] for row in rows]) for name in rows[0]["derived"]}
    image = np.stack([row["image"] for row in rows])
    pixels = image.dtype == np.uint8  # or else latents
    batch["image"] = transforms.normalize(image) if pixels else image.astype(np.float32)
    if "label" in rows[0]:
        batch["label"] = np.array([row["label"] for row in rows], np.int32)
    if "text" in rows[0]:
        batch["tokens"] = np.stack([tokenize(row["text"]) for row in rows])
    return batch


class _Reader:
    """Reads and augments one example: (index, rng) -> dict.

    The next example with a usable image stands in for one that has none. Called from several
    threads; what it remembers (resized images, unusable ones) changes how fast an answer comes,
    never the answer.
    """

    def __init__(
        self,
        data: config.Data,
        source: Any,
        keys: tuple[str, ...],
        derive: Mapping[str, Derive] = NOTHING,
        sorted_by: buckets.Buckets | None = None,
    ):
        self._buckets = sorted_by
        self._data = data
        self._source = source
        self._derive = {key: derive[key] for key in keys if key in derive}
        self._fields = [field for key, field in _FIELDS.items() if key in keys]
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
            example |= _cropped(example, transforms.random_place(shape, size, rng), size)
        if self._data.flip and transforms.flips(rng):
            example |= _flipped(example)
        if isinstance(example.get("text"), list):
            example["text"] = example["text"][rng.integers(len(example["text"]))]
        example["derived"] = {name: make(example, rng) for name, make in self._derive.items()}
        return example

    def _size(self, index: int) -> transforms.Size:
        """Of an example's image as it is given."""
        if not self._buckets:
            return self._data.image_size
        return self._buckets.sizes[self._buckets.of[index]]

    def _next(self, index: int) -> int:
        """The example after this one, of the same size."""
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
        """The example without what is random about it; None where its image cannot be read."""
        return self._cache.get(index) or self._read(index)

    def _read(self, index: int) -> dict[str, Any] | None:
        """The example with its image as uint8, [R, R, 3] or larger where the crop is random."""
        if self._failure:  # so that no thread goes on looking
            raise self._failure
        if index in self._bad:
            return None
        record = self._source[index]
        size = self._size(index)
        try:
            image = transforms.decode(record["image"], self._data.background, size)
            pictures = self._pictures(record)
        except Exception as error:  # Pillow's decoders raise anything for a damaged file
            self._skip(index, record["name"], error)
            return None
        height, width = transforms.sides(size)
        if (image.height < height or image.width < width) and not self._data.upscale:
            raise _too_small(record["name"], image.size, size)
        square = isinstance(size, int)
        pixels = np.asarray((transforms.resize if square else transforms.cover)(image, size))
        example = {field: record[field] for field in self._fields}
        example |= {"image": pixels, "index": index, "name": record["name"]}
        for name, picture in pictures.items():
            example[name] = _MAPS[name].resize(picture, *pixels.shape[:2])
        if self._data.crop == "center":
            example |= _cropped(example, transforms.center_place(pixels.shape, size), size)
        nbytes = sum(x.nbytes for x in example.values() if isinstance(x, np.ndarray))
        with self._lock:
            if nbytes <= self._free and index not in self._cache:
                self._free -= nbytes
                self._cache[index] = example
        return example

    def _pictures(self, record: dict[str, Any]) -> dict[str, np.ndarray]:
        """What else is a picture of an example."""
        return {name: _MAPS[name].decode(record[name]) for name in _MAPS if name in self._fields}

    def _skip(self, index: int, name: str, error: Exception) -> None:
        """Notes an unusable image, and stops where there are too many."""
        reason, limit = _reason(error), self._data.max_bad_images
        with self._lock:
            if index in self._bad or self._failure:
                return
            self._bad.add(index)
            count = len(self._bad)
            if count > limit or count == len(self._source):
                self._failure = _too_many(count, limit, name, reason)
                raise self._failure from error
        print(f"warning: skipped {name}: {reason} ({count} of {limit})", file=sys.stderr)


# entry of a batch -> field of a record
_FIELDS = {"label": "label", "tokens": "text"} | {
    name: name for name in ("boxes", "segmentation", "depth")
}


class _Map(NamedTuple):
    """How what is a picture beside the image is read, and made as large as the image."""

    decode: Callable[[Any], np.ndarray]
    resize: Callable[[np.ndarray, int, int], np.ndarray]


_MAPS = {
    "segmentation": _Map(transforms.decode_map, transforms.resize_map),
    "depth": _Map(transforms.decode_depth, transforms.resize_depth),
}


def _cropped(
    example: dict[str, Any], place: tuple[int, int], size: transforms.Size
) -> dict[str, Any]:
    """What changes of an example where its image is cropped to `size` from `place` on."""
    (height, width), (h, w) = example["image"].shape[:2], transforms.sides(size)
    changed = {
        name: np.ascontiguousarray(transforms.crop(example[name], place, size))
        for name in ("image", *_MAPS)
        if name in example
    }
    if "boxes" in example:
        window = (place[0] / height, place[1] / width, h / height, w / width)
        changed["boxes"] = objects.crop(example["boxes"], window)
    return changed


def _flipped(example: dict[str, Any]) -> dict[str, Any]:
    """What changes of an example where its image is mirrored left and right."""
    changed = {name: example[name][:, ::-1] for name in ("image", *_MAPS) if name in example}
    if "boxes" in example:
        changed["boxes"] = objects.flip(example["boxes"])
    return changed


def _reason(error: Exception) -> str:
    """Why an image cannot be read, in one line."""
    if isinstance(error, UnidentifiedImageError):  # whose text repeats the name, or an address
        return "not an image in a known format"
    return " ".join(str(error).split()) or type(error).__name__


def _too_many(count: int, limit: int, name: str, reason: str) -> InputError:
    return InputError(
        f"{count} images cannot be read (data.max_bad_images is {limit}), the last {name}: "
        f"{reason}; mend or remove them, or raise --data.max-bad-images"
    )


def check_readable(data: config.Data, source: Any) -> None:
    """Decodes some images, so that many damaged ones show before any time is spent on training.

    Raises InputError where more than `data.max_bad_images` of them cannot be read, or none can.
    """
    if isinstance(source, latents.Source):
        return

    def look(index: int) -> tuple[str, str] | None:
        record = source[index]
        try:
            transforms.decode(record["image"], data.background, data.image_size)
        except Exception as error:
            return record["name"], _reason(error)

    chosen = _spread(len(source), CHECKED_IMAGES)
    with ThreadPoolExecutor(4) as pool:
        bad = [found for found in pool.map(look, chosen) if found]
    if len(bad) > data.max_bad_images or len(bad) == len(chosen):
        raise _too_many(len(bad), data.max_bad_images, *bad[-1])


def _check_sizes(source: Any, size: int) -> None:
    """Looks for images that are too small before any time is spent on training."""

    def look(index: int) -> tuple[str, tuple[int, int]] | None:
        record = source[index]
        try:
            with transforms.open_image(record["image"]) as image:
                return record["name"], image.size
        except Exception:  # counted when it is read
            return None

    with ThreadPoolExecutor(4) as pool:
        looked = pool.map(look, _spread(len(source), CHECKED_SIZES))
        small = [found for found in looked if found and min(found[1]) < size]
    if small:
        raise _too_small(*min(small, key=lambda found: min(found[1])), size)


def _too_small(name: str, image_size: tuple[int, int], size: transforms.Size) -> InputError:
    width, height = image_size
    if not isinstance(size, int):
        return buckets.too_small(name, image_size, size)
    return InputError(
        f"{name} is {width}x{height} pixels, smaller than data.image_size {size}: "
        f"lower --data.image-size to {min(image_size)}, or enlarge with --data.upscale"
    )


def _spread(length: int, limit: int) -> list[int]:
    """At most `limit` indices below `length`, evenly spaced."""
    count = min(length, limit)
    return [index * length // count for index in range(count)]
