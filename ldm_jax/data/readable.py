"""Checks that images can be used, before training starts.

A few are decoded; of more, the size is read.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import UnidentifiedImageError

from ldm_jax.data import latents, transforms
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError, others, reason

CHECKED_SIZES = 2000  # images whose size is read before training starts
CHECKED_IMAGES = 200  # images that are decoded before training starts


def check_readable(data: Data, source: Any) -> None:
    """Decodes some images, so that many damaged ones show before any time is spent on training.

    Raises InputError where more than `data.max_bad_images` of them cannot be read, or all.
    """
    if isinstance(source, latents.Source):
        return

    def failure_of(index: int) -> tuple[str, str] | None:
        record = source[index]
        try:
            transforms.decode(record["image"], data.background, data.image_size)
        except Exception as error:
            return record["name"], reason_of(error)

    bad, count = _of_some(source, CHECKED_IMAGES, failure_of)
    if len(bad) > data.max_bad_images or len(bad) == count:
        raise too_many(len(bad), data.max_bad_images, *bad[-1])


def check_sizes(source: Any, size: int) -> None:
    """Checks that images are not too small, before training starts."""

    def size_of(index: int) -> tuple[str, tuple[int, int]] | None:
        record = source[index]
        try:
            with transforms.open_image(record["image"]) as image:
                return record["name"], image.size
        except Exception:  # counted when it is read
            return None

    sizes, _ = _of_some(source, CHECKED_SIZES, size_of)
    small = [found for found in sizes if min(found[1]) < size]
    if small:
        smallest = min(small, key=lambda found: min(found[1]))
        raise too_small(*smallest, size, len(small) - 1)


def _of_some(source: Any, limit: int, ask: Callable[[int], Any]) -> tuple[list[Any], int]:
    """The results for some of a source that are not None, and how many were asked."""
    chosen = spread(len(source), min(limit, getattr(source, "checked", None) or limit))
    with ThreadPoolExecutor(4) as pool:
        return [found for found in pool.map(ask, chosen) if found is not None], len(chosen)


def reason_of(error: Exception) -> str:
    """Why an image cannot be read, in one line."""
    if isinstance(error, UnidentifiedImageError):  # whose text repeats the name, or an address
        return "not an image in a known format"
    return reason(error).partition(", could be decompression bomb")[0]


def too_many(count: int, limit: int, name: str, reason: str) -> InputError:
    return InputError(
        f"{count} images cannot be read (data.max_bad_images is {limit}), the last {name}: "
        f"{reason}; mend or remove them, or raise --data.max-bad-images"
    )


def too_small(
    name: str, image_size: tuple[int, int], size: transforms.Size, more: int = 0
) -> InputError:
    """For an image [width, height] smaller than a square or its bucket (height, width)."""
    width, height = image_size
    wanted, lowered = (
        (f"data.image_size {size}", f" to {min(image_size)} or less")
        if isinstance(size, int)
        else (f"{size[1]}x{size[0]}, the size of data.buckets nearest to its shape", "")
    )
    return InputError(
        f"{name} is {width}x{height} pixels, smaller than {wanted}"
        f"{others(more)}: "
        f"lower --data.image-size{lowered}, or enlarge with --data.upscale"
    )


def spread(length: int, limit: int) -> list[int]:
    """At most `limit` indices below `length`, evenly spaced."""
    count = min(length, limit)
    return [index * length // count for index in range(count)]
