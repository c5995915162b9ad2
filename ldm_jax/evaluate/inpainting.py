"""Error of inpainted regions, against the mean colour of the rest."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.errors import InputError
from ldm_jax.evaluate import held_out
from ldm_jax.types import Array


@dataclass(frozen=True)
class Options(held_out.Options):
    """The settings of `inpainting`."""

    draws: int = 4
    """samples per image, whose mean is measured as well"""


def inpainting(run: str, options: Options) -> None:
    """Inpaints held-out images, and prints the error inside the masks.

    Where the mask does not determine x, the mean square error of a sample x' of a perfect model is
    twice that of the mean of all samples: E |x - x'|^2 = 2 E |x - E x|^2 for independent x and x'.
    """
    if options.draws < 1:
        raise InputError(f"--draws is {options.draws}: expected at least 1")
    found = held_out.draw_held_out(run, "mask", options, "inpainting", options.draws)
    draws = found.drawn.reshape(options.draws, *found.truth.shape)
    masked = found.inputs["mask"] > 0.5
    plain = with_mean_color(found.truth, masked)
    holes = np.where(masked, 0, found.truth).astype(np.uint8)
    shown = np.stack([holes, plain, draws[0], found.truth], axis=1)[:8]
    out = Path(options.out or runs.folder(run) / "inpainting")
    image_files.save(out / "grid.png", image_files.grid(shown.reshape(-1, *shown.shape[2:]), 8))
    compared = {
        "one sample": draws[0],
        f"the mean of {options.draws} samples": draws.mean(axis=0),
        "the mean colour of the rest": plain,
    }
    print(f"masked: {masked.mean():.1%} of the pixels")
    for name, images in compared.items():
        print(f"error inside of {name}: {error_inside(images, found.truth, masked):.2f} of 255")


def with_mean_color(images: Array, masked: Array) -> Array:
    """uint8 images [N, H, W, 3] whose masked pixels [N, H, W, 1] have the mean of the others."""
    seen = ~masked
    total = np.sum(images * seen, axis=(1, 2), keepdims=True)
    mean = total / np.maximum(np.sum(seen, axis=(1, 2), keepdims=True), 1)
    return np.where(masked, np.round(mean), images).astype(np.uint8)


def error_inside(images: Array, truth: Array, masked: Array) -> float:
    """Root of the mean squared difference of masked pixels, in 255ths."""
    squared = np.square(images.astype(np.float64) - truth)
    return float(np.sqrt(np.sum(squared * masked) / (3 * np.sum(masked))))
