"""Aspect-ratio buckets: images keep about the shape they have (NovelAI 2022).

Each image goes to the size, of about one area, whose shape is nearest to its own, and each batch
is of one size. A batch is a function of its number and the seed alone: the stream stands where one
integer says, and all hosts have the same size at the same step.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ldm_jax.data import transforms
from ldm_jax.errors import InputError

Size = tuple[int, int]  # height, width


class Buckets(NamedTuple):
    """Which size each example has.

    sizes:   those that examples have, the square's side first
    members: of each size the examples, int [n]
    of:      [N] each example's size, a place in `sizes`
    """

    sizes: tuple[Size, ...]
    members: tuple[np.ndarray, ...]
    of: np.ndarray

    def describe(self) -> str:
        """One line that says which sizes there are."""
        each = ", ".join(
            f"{width}x{height} ({len(rows)})"
            for (height, width), rows in zip(self.sizes, self.members, strict=True)
        )
        return f"buckets: {each}; as many programs, {len(self.sizes)}, are compiled at most"


def sizes(side: int, step: int, aspect: float) -> list[Size]:
    """The sizes whose sides are multiples of `step`, for each shorter side the longest there is.

    Their areas are three quarters of side^2 or more, and no more than it; none is longer than
    `aspect` times its other side.
    """
    found = set()
    for short in range(step, side + 1, step):
        long = min(side * side // short, int(aspect * short)) // step * step
        if long >= short and 4 * short * long >= 3 * side * side:
            found |= {(short, long), (long, short)}
    return sorted(found, key=lambda size: (abs(np.log(size[0] / size[1])), size))


def nearest(height: int, width: int, among: Sequence[Size]) -> int:
    """The place of the size whose shape, as a logarithm, is nearest to height / width."""
    shapes = np.log([h / w for h, w in among])
    return int(np.argmin(np.abs(shapes - np.log(height / width))))


def shape_of(image) -> Size:
    """Height and width of an image as it is seen upright, of which the header was read."""
    width, height = image.size
    turned = image.getexif().get(0x0112, 1) >= 5  # of the EXIF orientations, those on their side
    return (width, height) if turned else (height, width)


@lru_cache(4)  # a source is asked for more than one stream
def sort(source: Any, among: tuple[Size, ...], upscale: bool = False) -> Buckets:
    """Looks at the header of every image of a source; one that has none counts as a square.

    Raises:
        InputError: an image that its size would enlarge, unless `upscale`.
    """

    def look(index: int) -> int:
        record = source[index]
        try:
            with transforms.open_image(record["image"]) as image:
                height, width = shape_of(image)
        except Exception:  # counted when it is read
            return nearest(1, 1, among)
        place = nearest(height, width, among)
        if not upscale and (height < among[place][0] or width < among[place][1]):
            raise too_small(record["name"], (width, height), among[place])
        return place

    with ThreadPoolExecutor(4) as pool:
        places = np.fromiter(pool.map(look, range(len(source))), int, len(source))
    used = np.unique(places)
    return Buckets(
        tuple(among[i] for i in used),
        tuple(np.flatnonzero(places == i) for i in used),
        np.searchsorted(used, places),
    )


def too_small(name: str, image_size: tuple[int, int], size: Size) -> InputError:
    """What is said of an image [width, height] smaller than its size."""
    width, height = image_size
    return InputError(
        f"{name} is {width}x{height} pixels, smaller than {size[1]}x{size[0]}, the size of "
        "data.buckets nearest to its shape: lower --data.image-size, or enlarge with --data.upscale"
    )


def check(side: int, step: int, aspect: float, factor: int) -> None:
    """Raises InputError for buckets that a model which downsamples by `factor` cannot have."""
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
    """Which example each position of the endless stream has: batches of one size each.

    In epoch e, size i has floor((e + 1) n_i / B) - floor(e n_i / B) batches of B, and the batches
    of all sizes are shuffled, so that all examples come equally often in the long run; those of a
    size with fewer than a batch come once in several epochs. Within a size, each example comes once
    before any comes again.
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
        turn, place = divmod(k * self._B + row, int(self._counts[i]))
        return int(self._turn(i, turn)[place])

    def _before(self, epoch: int) -> int:
        """Batches of all epochs before this one."""
        return int(np.sum(epoch * self._counts // self._B))

    def _batch(self, number: int) -> tuple[int, int]:
        """The size of a batch, and which of that size's batches it is."""
        low, high = 0, (number + 1) * self._B + 1  # every epoch but B has a batch
        while high - low > 1:  # before(low) <= number < before(high)
            middle = (low + high) // 2
            low, high = (middle, high) if self._before(middle) <= number else (low, middle)
        return self._epoch(low)[number - self._before(low)]

    def _shuffled_batches(self, epoch: int) -> list[tuple[int, int]]:
        first, last = (e * self._counts // self._B for e in (epoch, epoch + 1))
        kinds = np.repeat(np.arange(len(first)), last - first)
        kinds = np.random.default_rng([self._seed, epoch]).permutation(kinds)
        coming = first.copy()  # of each size the batch that is next
        found = []
        for i in kinds:
            found.append((int(i), int(coming[i])))
            coming[i] += 1
        return found

    def _shuffled_members(self, i: int, turn: int) -> np.ndarray:
        return np.random.default_rng([self._seed, i, turn]).permutation(self._buckets.members[i])
