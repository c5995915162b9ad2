"""From an encoded image to a square of uint8, and from uint8 to float.

Images are Pillow images until they are cropped, then arrays [H, W, 3]. Resizing is Pillow's
Lanczos filter, whose support grows with the reduction, so it is antialiased.
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import EpsImagePlugin, Image, ImageOps, PngImagePlugin

# Text and colour profiles of a PNG, which nobody reads here, refuse it only beyond these bytes.
PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = 2**26, 2**28
# No warning of a sound image, such as one of 90 to 179 million pixels (more are refused).
warnings.filterwarnings("ignore", module="PIL")
EpsImagePlugin.gs_binary = False  # PostScript is a program, whatever the file is called
RESIZED = 2**25  # pixels, or 8 squares: an image that would become more by resizing is refused

Encoded = str | Path | bytes | Callable[[], bytes]  # a file, its contents, or what reads them
Size = int | tuple[int, int]  # of a square, or height and width


def open_image(encoded: Encoded) -> Image.Image:
    """An image of which only the header has been read: `.size` is known, the pixels are not."""
    found = encoded() if callable(encoded) else encoded
    return Image.open(io.BytesIO(found) if isinstance(found, bytes) else found)


def decode(encoded: Encoded, background: tuple[int, int, int], size: Size = 0) -> Image.Image:
    """Decodes an image to 8-bit RGB, upright, with its transparent parts on `background`.

    An image whose shorter side is to become `size` (or that is to cover a height and a width) may
    be decoded at a reduced size, but never below twice that. Pillow's errors for damaged files are
    passed on.

    Raises:
        ValueError: an image so long and thin that it would become too large, see `resize`.
    """
    with open_image(encoded) as image:
        if size:
            resized(image, max(sides(size)))
            # JPEG can be decoded at 1/2, 1/4 or 1/8 for a fraction of the work; a factor of at
            # least two is left to Lanczos, so that the result hardly differs from the slow one.
            most = size if isinstance(size, int) else max(size)  # before EXIF rotation
            image.draft(None, (2 * most, 2 * most))
        turn(image)
        return to_rgb(image, background)


def turn(image: Image.Image) -> None:
    """Decodes an image, and turns it as its EXIF data say, where they are not damaged."""
    image.load()
    with contextlib.suppress(Exception):  # whatever the parser of a damaged file meets
        ImageOps.exif_transpose(image, in_place=True)


def to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Any Pillow mode to 8-bit RGB; 16-bit and float values are scaled, not clipped."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _to_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (*background, 255))
        return Image.alpha_composite(canvas, image).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit or float grey to 8 bits, by the smallest usual white level above the values.

    Raises:
        ValueError: a pixel is not a finite number.
    """
    values = np.asarray(image, np.float64)
    bad = np.count_nonzero(~np.isfinite(values))
    if bad:
        raise ValueError(f"{bad} of its {values.size} pixels are NaN or infinite")
    values = values.clip(0)
    whites = (1, 255, 65535) if image.mode == "F" else (65535,)
    peak = values.max(initial=0)
    white = next((white for white in whites if peak <= white), peak)
    return Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8))


def resize(image: Image.Image, size: int) -> Image.Image:
    """Scales so that the shorter side is `size` pixels; an image of that size is unchanged.

    Raises:
        ValueError: an image so long and thin that it would have more than 33 million pixels, and
            more than 8 squares of this size.
    """
    wanted = resized(image, size)
    return image if min(image.size) == size else image.resize(wanted, Image.Resampling.LANCZOS)


def resized(image: Image.Image, size: int) -> tuple[int, int]:
    """Width and height where the shorter side is `size`; see `resize`."""
    shorter = max(min(image.size), 1)
    width, height = (max(size, round(side * size / shorter)) for side in image.size)
    if min(image.size) != size and width * height > max(RESIZED, 8 * size**2):
        raise ValueError(
            f"is {image.width}x{image.height} pixels, too long and thin to be resized to {size}: "
            f"it would be {width}x{height}"
        )
    return width, height


def cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scales to the smallest image that covers `size` (height, width): one side is equal.

    For a square, this is `resize`.
    """
    height, width = size
    scale = max(height / image.height, width / image.width)
    if scale == 1:
        return image
    w, h = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    return image.resize((w, h), Image.Resampling.LANCZOS)


def center_crop(image: np.ndarray, size: int) -> np.ndarray:
    """[H, W, 3] -> the middle [size, size, 3]."""
    return crop(image, center_corner(image.shape, size), size)


def crop(image: np.ndarray, corner: tuple[int, int], size: Size) -> np.ndarray:
    """[H, W, ...] -> [h, w, ...] from `corner` (top, left) on."""
    (top, left), (height, width) = corner, sides(size)
    return image[top : top + height, left : left + width]


def center_corner(shape: tuple[int, ...], size: Size) -> tuple[int, int]:
    """The corner (top, left) of a center crop of an image [H, W, ...]."""
    height, width = sides(size)
    return (shape[0] - height) // 2, (shape[1] - width) // 2


def random_corner(shape: tuple[int, ...], size: Size, rng: np.random.Generator) -> tuple[int, int]:
    """The corner (top, left) of a crop of an image [H, W, ...], drawn uniformly."""
    height, width = sides(size)
    return int(rng.integers(shape[0] - height + 1)), int(rng.integers(shape[1] - width + 1))


def sides(size: Size) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else size


def flips(rng: np.random.Generator) -> bool:
    """Whether to mirror, with probability 1/2."""
    return rng.random() < 0.5


def normalize(images: np.ndarray) -> np.ndarray:
    """uint8 0 ... 255 -> float32 in [-1, 1], any shape."""
    out = images.astype(np.float32)
    out /= 127.5  # in place, and exact at both ends
    out -= 1
    return out
