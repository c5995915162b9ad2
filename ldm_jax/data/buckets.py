"""Aspect-ratio buckets: images keep approximately their aspect ratio (NovelAI 2022).

Buckets are sizes of about the same area. Each image is resized to the one with the nearest aspect
ratio, and each batch has one size. A batch is a function of its number and the seed alone: one
integer is the state of the stream, and all hosts have the same size at the same step.
"""

import bisect
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ldm_jax.data import transforms
from ldm_jax.data.readable import too_small
from ldm_jax.errors import InputError

Size = tuple[int, int]  # height, width


class Buckets(NamedTuple):
    """The bucket of each example.

    sizes:   of the buckets that have examples, the square's side first
    members: the examples of each bucket, int [n]
    of:      [N] the bucket of each example, an index into `sizes`
    """

    sizes: tuple[Size, ...]
    members: tuple[np.ndarray, ...]
    of: np.ndarray

    def describe(self) -> str:
        """One line that lists the buckets."""
        each = ", ".join(
            f"{width}x{height} ({len(rows)})"
            for (height, width), rows in zip(self.sizes, self.members, strict=True)
        )
        return f"buckets: {each}; as many programs, {len(self.sizes)}, are compiled at most"


def sizes(side: int, step: int, aspect: float) -> list[Size]:
    """Sizes whose sides are multiples of `step`: for each shorter side the longest other side.

    Their areas are between three quarters of side^2 and side^2; the aspect ratio is at most
    `aspect`.
    """
    found = set()
    for short in range(step, side + 1, step):
        long = min(side * side // short, int(aspect * short)) // step * step
        if long >= short and 4 * short * long >= 3 * side * side:
            found |= {(short, long), (long, short)}
    return sorted(found, key=lambda size: (abs(np.log(size[0] / size[1])), size))


def nearest(height: int, width: int, among: Sequence[Size]) -> int:
    """The index of the size whose log aspect ratio is nearest to that of height / width."""
    shapes = np.log([h / w for h, w in among])
    return int(np.argmin(np.abs(shapes - np.log(height / width))))


def shape_of(image) -> Size:
    """Height and width of an image in its upright orientation, from its header."""
    width, height = image.size
    turned = image.getexif().get(0x0112, 1) >= 5  # of the EXIF orientations, those on their side
    return (width, height) if turned else (height, width)


@lru_cache(4)  # the same source is used by several streams
def sort(source: Any, among: tuple[Size, ...], upscale: bool = False) -> Buckets:
    """Reads the header of every image of a source; unreadable ones count as squares.

    Raises:
        InputError: an image that is smaller than its bucket, unless `upscale`.
    """

    def bucket_of(index: int) -> int:
        record = source[index]
        try:
            with transforms.open_image(record["image"]) as image:
                height, width = shape_of(image)
        except Exception:  # counted when it is read
            return nearest(1, 1, among)
        bucket = nearest(height, width, among)
        if not upscale and (height < among[bucket][0] or width < among[bucket][1]):
            raise too_small(record["name"], (width, height), among[bucket])
        return bucket

    with ThreadPoolExecutor(4) as pool:
        indices = np.fromiter(pool.map(bucket_of, range(len(source))), int, len(source))
    used = np.unique(indices)
    return Buckets(
        tuple(among[i] for i in used),
        tuple(np.flatnonzero(indices == i) for i in used),
        np.searchsorted(used, indices),
    )


def check(side: int, step: int, aspect: float, factor: int) -> None:
    """Raises InputError for buckets that do not fit a model which downsamples by `factor`."""
    if step % factor:
        raise InputError(
            f"data.buckets is {step}: expected a multiple of {factor}, the factor by which first "
            "stage and UNet downsample"
        )
    if not 1 < aspect <= 8:
        raise InputError(f"data.bucket_aspect is {aspect:g}: expected more than 1, at most 8")
    if side % step:
        raise InputError(
            f"data.buckets is {step}: expected a divisor of data.image_size, which is {side}"
        )


class Order:
    """The example at each position of the endless stream, with batches of one size each.

    In epoch e, size i has floor((e + 1) n_i / B) - floor(e n_i / B) batches of B. The batches of
    all sizes are shuffled, so that all examples are equally frequent in the long run; a size with
    fewer examples than a batch has a batch only in some epochs. Within a size, each example is used
    once before any is used again.
    """

    def __init__(self, buckets: Buckets, batch_size: int, seed: int):
        self._buckets, self._B, self._seed = buckets, batch_size, seed
        self._counts = np.array([len(rows) for rows in buckets.members])
        self._epoch = lru_cache(4)(self._shuffled_batches)
        self._turn = lru_cache(4 * len(buckets.sizes))(self._shuffled_members)

    def __call__(self, position: int) -> int:
        """The example at a position of the stream."""
        number, row = divmod(int(position), self._B)
        i, k = self._batch(number)
        turn, row_of_turn = divmod(k * self._B + row, int(self._counts[i]))
        return int(self._turn(i, turn)[row_of_turn])

    def _before(self, epoch: int) -> int:
        """Batches of all epochs before this one."""
        return int(np.sum(epoch * self._counts // self._B))

    def _batch(self, number: int) -> tuple[int, int]:
        """The size of a batch, and its number among the batches of that size."""
        epochs = range((number + 1) * self._B + 1)  # every epoch but B has a batch
        epoch = bisect.bisect_right(epochs, number, key=self._before) - 1
        return self._epoch(epoch)[number - self._before(epoch)]

    def _shuffled_batches(self, epoch: int) -> list[tuple[int, int]]:
        first, last = (e * self._counts // self._B for e in (epoch, epoch + 1))
        kinds = np.repeat(np.arange(len(first)), last - first)
        kinds = np.random.default_rng([self._seed, epoch]).permutation(kinds)
        coming = [itertools.count(int(n)) for n in first]  # batches of each size
        return [(int(i), next(coming[i])) for i in kinds]

    def _shuffled_members(self, i: int, turn: int) -> np.ndarray:
        return np.random.default_rng([self._seed, i, turn]).permutation(self._buckets.members[i])
