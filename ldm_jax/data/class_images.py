"""A folder of images of a class, which a model draws where there are too few (DreamBooth)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ldm_jax.data import image_files
from ldm_jax.data.image_set import find_images

# seeds [n] uint32 -> uint8 [n, H, W, 3]; the image of a seed is the same in every call
Draw = Callable[[np.ndarray], np.ndarray]


def missing(folder: Path, num: int) -> list[int]:
    """The seeds of images to draw, so that the folder has `num`; those that it has stay."""
    names = find_images(folder).images if folder.is_dir() else []
    free = [seed for seed in range(num) if _name(seed) not in names]
    return free[: max(0, num - len(names))]


def fill(folder: Path, num: int, draw: Draw, batch_size: int) -> int:
    """Draws the missing ones, each under the name of its seed, and returns how many they were.

    Each file appears whole and at once, so that what was interrupted goes on where it was.
    """
    seeds = missing(folder, num)
    for start in range(0, len(seeds), batch_size):
        some = np.asarray(seeds[start : start + batch_size], np.uint32)
        full = np.resize(some, batch_size)  # of one shape each time
        for seed, image in zip(some, draw(full), strict=False):
            image_files.save(folder / _name(seed), image)
    return len(seeds)


def _name(seed: int) -> str:
    return f"{seed:06}.png"
