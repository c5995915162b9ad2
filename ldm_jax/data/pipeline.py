"""Sources of images, and the endless stream of batches from one.

The stream is one sequence of positions: epoch after epoch, each a new permutation of the examples.
Host `p` of `n` takes positions p, p + n, p + 2n, ...; the augmentation of an example depends on the
seed and its position alone. So the batches do not depend on the number of hosts or threads, and the
state of the stream is one integer.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import grain
import numpy as np

from ldm_jax.data import buckets, latents, transforms
from ldm_jax.data.folder import open_folder
from ldm_jax.data.image_set import shown
from ldm_jax.data.latents import entry
from ldm_jax.data.metadata import nfc
from ldm_jax.data.paired import Captioned, Paired
from ldm_jax.data.readable import check_sizes, spread
from ldm_jax.data.reader import FIELDS, NOTHING, Derive, Reader
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError

ENDLESS = 2**48  # positions of a stream


class DataInfo(NamedTuple):
    """Facts of a data set that need no decoding."""

    num_examples: int
    class_names: tuple[str, ...]  # () without labels
    has_captions: bool
    object_names: tuple[str, ...] = ()  # classes of bounding boxes; () without boxes
    absent: Mapping[str, str] = MappingProxyType({})  # missing fields -> why, and a remedy


def open_source(data: Data) -> tuple[Any, DataInfo]:
    """Opens `data.path`, and checks that its images are large enough.

    The source has `len` and `[index]` -> dict: `image` (a path, encoded bytes or what reads them,
    see `transforms.decode`), `name`, and where present `label` (int), `text` (str, or a list of
    alternatives), `boxes` (see `objects`), `face` and `points` (see `faces`), and each of
    `maps.MAPS` (a path or encoded bytes). For a folder of latents, see `latents`.

    Raises InputError where the data cannot be used.
    """
    if not data.path:
        raise InputError("data.path is not set: give --data.path a folder, tfds:NAME or shapes")
    if data.image_size is None:
        raise InputError("data.image_size is not set: give --data.image-size in pixels")
    source = _open(data)
    if data.captions:
        source = _captioned(data, source)
    if isinstance(source, latents.Source):
        latents.check(data, source)
    elif not data.upscale and not data.buckets:  # with buckets, `buckets.sort` does
        check_sizes(source, data.image_size)
    has_captions = "text" not in source.absent
    classes, objects = (tuple(map(nfc, x)) for x in (source.class_names, source.object_names))
    info = DataInfo(len(source), classes, has_captions, objects, source.absent)
    _announce(_described(source, info), *getattr(source, "warnings", ()))
    return source, info


def _captioned(data: Data, source: Any) -> Captioned:
    """The source with the captions of the settings.

    Raises:
        InputError: it is of latents, in which captions are encoded.
    """
    if isinstance(source, latents.Source):
        raise InputError(
            f"data.captions is {data.captions}: expected (), since data.path '{data.path}' holds "
            "latents, and its captions with them"
        )
    return Captioned(source, data.captions)


@cache  # a training opens the data of its first stage, too
def _announce(line: str, *warnings: str) -> None:
    print(line, flush=True)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr, flush=True)


def _described(source: Any, info: DataInfo) -> str:
    """What a data set has, in one line."""
    names = ", ".join(info.class_names[:4]) + ", ..." * (len(info.class_names) > 4)
    note = getattr(source, "note", "")
    parts = [f"data: {info.num_examples} images" + (f" ({note})" if note else "")]
    parts += [f"{len(info.class_names)} classes ({names})"] if info.class_names else ["no classes"]
    parts += ["captions" if info.has_captions else "no captions"]
    left_out = getattr(source, "left_out", "")
    return f"{', '.join(parts)} in {shown(source.name)}" + (
        f"; left out: {left_out}" if left_out else ""
    )


def _open(data: Data) -> Any:
    fields = {"split": data.split, "caption": data.caption, "label": data.label}
    encoded = latents.is_latents(data.path)
    other = data.path == "shapes" or data.path.startswith("tfds:")
    if data.repeats and (encoded or other):
        raise InputError(
            f"data.repeats is True for data.path '{data.path}': expected a folder of images"
        )
    if encoded:
        return latents.Source(data.path)
    if not other:
        return open_folder(data.path, repeated=data.repeats, **fields)
    from ldm_jax.data import shapes, tfds

    fields["object_label"] = data.object_label
    if data.path == "shapes":
        return tfds.Source(shapes.builder(data.image_size, data.shapes), **fields)
    return tfds.Source(tfds.builder(data.path.removeprefix("tfds:")), **fields)


def captions(source: Any, limit: int = 100_000) -> list[str]:
    """Captions of at most `limit` examples evenly spaced over the source; no image is decoded."""
    _require(source, "text")
    texts = []
    for index in spread(len(source), limit):
        text = source[index]["text"]
        texts += [text] if isinstance(text, str) else text
    return texts


def batches(
    data: Data,
    source: Any,
    *,
    seed: int,
    keys: tuple[str, ...],
    tokenize: Mapping[str, Callable[[str], np.ndarray]] = NOTHING,
    derive: Mapping[str, Derive] = NOTHING,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """The endless stream of batches, of which this host gets b = batch_size / process_count each.

    Yields dicts of arrays: `image` float32 [b, R, R, 3] in [-1, 1], or with `data.buckets` [b, H,
    W, 3] with one of their sizes for all of a batch; with "label" in `keys`, `label` int32 [b];
    with those of `tokenize` in `keys`, such as "tokens", their function of a caption, int32 [b, L];
    and those of `derive` that `keys` names. Each of these is a function of an example as the reader
    gives it (`image` uint8 [R, R, 3], `index`, and with "boxes" or names of `faces.FORMS` or
    `maps.MAPS` in `keys` these, cropped and flipped with it) and of its random generator. For
    latents, `image` is their posterior, see `latents.Reader`. Every example is used once an epoch,
    on one host. `get_state` and `set_state` (and so Grain's checkpoints) continue with exactly the
    next batch.

    Raises InputError at once where the settings do not suit the data, and from `next` where more
    than `data.max_bad_images` images cannot be read.
    """
    check_batch(data, source, keys, process_count)
    sorted_by = in_buckets(data, source)
    if "tokens" in keys and "tokens" not in tokenize:
        raise ValueError("tokens are among the keys, but there is no tokenizer")
    tokenize = {key: _remembered(tokenize[key]) for key in tokenize if key in keys}
    if tokenize:
        keys = tuple(dict.fromkeys((*keys, "tokens")))  # of captions, which all are made of
    seed %= 2**32
    if sorted_by or isinstance(source, Paired):
        order = buckets.Order(sorted_by, data.batch_size, seed) if sorted_by else source.order(seed)
        stream = grain.MapDataset.range(ENDLESS).map(order)
    else:
        stream = grain.MapDataset.range(len(source)).shuffle(seed=seed).repeat()
    stream = stream.random_map(_reader(data, source, keys, derive, sorted_by), seed=seed).slice(
        slice(process_index, None, process_count)
    )
    return _batched(data, stream, data.batch_size // process_count, tokenize, drop_remainder=True)


def in_buckets(data: Data, source: Any) -> buckets.Buckets | None:
    """The bucket of each image, with `data.buckets`."""
    if not data.buckets:
        return None
    among = buckets.sizes(data.image_size, data.buckets, data.bucket_aspect)
    return buckets.sort(source, tuple(among), data.upscale)


def _reader(
    data: Data,
    source: Any,
    keys: tuple[str, ...],
    derive: Mapping[str, Derive],
    sorted_by: buckets.Buckets | None = None,
) -> Callable[[int, np.random.Generator], dict[str, Any]]:
    """The reader of one example: (index, rng) -> dict."""
    if isinstance(source, latents.Source):
        slots = [slot for slot in source.described.answered if entry(slot) in keys]
        return latents.Reader(data, source, [FIELDS[key] for key in keys if key in FIELDS], slots)
    return Reader(data, source, keys, derive, sorted_by)


def in_order(
    data: Data, source: Any, indices: range, keys: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Examples without augmentation, in order: `image` uint8 [R, R, 3], `name`, and `keys`' fields.

    Center-cropped and not mirrored; unreadable ones are left out, with a warning.
    """
    read = Reader(replace(data, crop="center", flip=False), source, keys)
    with ThreadPoolExecutor(max(1, data.threads)) as pool:
        for start in range(0, len(indices), data.batch_size):
            some = pool.map(read.example, indices[start : start + data.batch_size])
            yield from (example for example in some if example is not None)


def once(
    data: Data,
    source: Any,
    count: int,
    keys: tuple[str, ...] = (),
    derive: Mapping[str, Derive] = NOTHING,
) -> grain.DatasetIterator:
    """Batches of `count` examples evenly spaced over the source, each once and in its order.

    Yields what `batches` does, but for captions; the last may be smaller. Images are center-cropped
    and not mirrored. An unreadable image is replaced by the next readable one.
    """
    read = Reader(replace(data, crop="center", flip=False), source, keys, derive)
    stream = grain.MapDataset.source(spread(len(source), count)).random_map(read, seed=0)
    return _batched(data, stream, data.batch_size, NOTHING)


def _batched(
    data: Data, stream: grain.MapDataset, size: int, tokenize: Mapping[str, Any], **options: Any
) -> grain.DatasetIterator:
    """Batches of the examples of a stream, which some threads read ahead."""
    stream = stream.batch(size, batch_fn=lambda rows: _collate(rows, tokenize), **options)
    ahead = grain.ReadOptions(num_threads=data.threads, prefetch_buffer_size=data.threads + 1)
    return iter(stream.to_iter_dataset(ahead))


def check_batch(data: Data, source: Any, keys: tuple[str, ...], process_count: int = 1) -> None:
    """Raises InputError where `batches` could not be made of this source."""
    if data.batch_size < 1 or data.batch_size % process_count:
        raise InputError(
            f"data.batch_size {data.batch_size} cannot be shared by {process_count} hosts: "
            f"make --data.batch-size a positive multiple of {process_count}"
        )
    if len(source) < data.batch_size:
        most = len(source) // process_count * process_count
        raise InputError(
            f"{source.name} has {len(source)} examples, fewer than one batch of {data.batch_size}: "
            + (f"lower --data.batch-size to {most} or less" if most else "expected more examples")
        )
    for key in keys:
        if key in FIELDS:
            _require(source, FIELDS[key])


def _remembered(tokenize: Callable[[str], np.ndarray]) -> Callable[[str], np.ndarray]:
    """Tokenizes a caption once, and one at a time: not every tokenizer is thread-safe."""
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
    rows: list[dict[str, Any]], tokenize: Mapping[str, Callable[[str], np.ndarray]]
) -> dict[str, np.ndarray]:
    """Examples to a batch; uint8 becomes float here, in one operation for all of them."""
    batch = {name: np.stack([row["derived"][name] for row in rows]) for name in rows[0]["derived"]}
    image = np.stack([row["image"] for row in rows])
    pixels = image.dtype == np.uint8  # otherwise latents
    batch["image"] = transforms.normalize(image) if pixels else image.astype(np.float32)
    if "label" in rows[0]:
        batch["label"] = np.array([row["label"] for row in rows], np.int32)
    captions = {
        key: np.stack([encode(row["text"]) for row in rows]) for key, encode in tokenize.items()
    }
    return batch | captions
