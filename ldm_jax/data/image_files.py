"""Image files: float32 in [-1, 1] to and from uint8 PNG."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from ldm_jax.runtime.files import whole


def to_uint8(images: np.ndarray) -> np.ndarray:
    """[..., H, W, 3] in [-1, 1] -> uint8; values outside are clipped."""
    return np.round((np.clip(np.asarray(images), -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Tiles uint8 [N, H, W, 3] into one white-framed image, row by row, nearly square."""
    N, H, W, _ = images.shape
    columns = columns or int(np.ceil(np.sqrt(N)))
    rows = -(-N // columns)
    gap = max(1, H // 32)
    canvas = np.full((rows * (H + gap) + gap, columns * (W + gap) + gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = (gap + (i // columns) * (H + gap), gap + (i % columns) * (W + gap))
        canvas[y : y + H, x : x + W] = image
    return canvas


def save(path: str | Path, image: np.ndarray, text: Mapping[str, str] | None = None) -> None:
    """Writes uint8 [H, W, 3] as PNG, making its folder; `text` are ASCII metadata by keyword."""
    notes = PngImagePlugin.PngInfo()
    for keyword, words in (text or {}).items():
        notes.add_text(keyword, words)
    with whole(path) as file:
        Image.fromarray(image).save(file, "PNG", pnginfo=notes)


def animate(path: str | Path, images: np.ndarray, rate: float) -> None:
    """Writes uint8 [N, H, W, 3] as a GIF that repeats, `rate` images a second.

    A GIF counts in hundredths of a second, and has 256 colours an image.
    """
    frames = [Image.fromarray(image) for image in images]
    each = 10 * max(1, round(100 / rate))
    with whole(path) as file:
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=each, loop=0)


def read_text(path: str | Path) -> dict[str, str]:
    """The text metadata of a PNG, by keyword."""
    with Image.open(path) as image:
        return dict(image.text)


def pairs(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Tiles each image next to its other: uint8 [N, H, W, 3] twice -> one image."""
    return grid(np.concatenate([images, others], axis=2))


def captioned(images: np.ndarray, captions: Sequence[str], columns: int = 6) -> np.ndarray:
    """Tiles uint8 [N, H, W, 3], enlarged to 128 pixels or more, each above its caption."""
    scale = max(1, -(-128 // images.shape[1]))
    side, font = images.shape[1] * scale, ImageFont.load_default(11)
    tiles = []
    for image, caption in zip(images, captions, strict=True):
        tile = Image.new("RGB", (side, side + 60), "white")
        tile.paste(Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST))
        text = "\n".join(textwrap.wrap(caption, max(10, side // 6))[:4])
        ImageDraw.Draw(tile).multiline_text((2, side + 2), text, "black", font, spacing=2)
        tiles.append(np.asarray(tile))
    return grid(np.stack(tiles), columns)
