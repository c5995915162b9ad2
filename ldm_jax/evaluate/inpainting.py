"""Error of inpainted regions, against the mean colour of the rest."""

from dataclasses import dataclass

import numpy as np

from ldm_jax.evaluate import held_out, results
from ldm_jax.settings import AtLeast1
from ldm_jax.types import Array


@dataclass(frozen=True)
class Options(held_out.Options):
    """The settings of `inpainting`."""

    draws: AtLeast1 = 4
    """samples per image, whose mean is measured as well"""


def inpainting(run: str, options: Options) -> None:
    """Inpaints held-out images, and prints the error inside the masks.

    Where the mask does not determine x, the mean square error of a sample x' of a perfect model is
    twice that of the mean of all samples: E |x - x'|^2 = 2 E |x - E x|^2 for independent x and x'.
    """
    found = held_out.draw_held_out(run, "mask", options, "inpainting", options.draws)
    draws = found.drawn.reshape(options.draws, *found.truth.shape)
    masked = found.inputs["mask"] > 0.5
    plain = with_mean_color(found.truth, masked)
    holes = np.where(masked, 0, found.truth).astype(np.uint8)
    results.show(found.out, holes, plain, draws[0], found.truth)
    compared = {
        "one sample": draws[0],
        f"the mean of {options.draws} samples": draws.mean(axis=0),
        "the mean colour of the rest": plain,
    }
    errors = {name: error_inside(x, found.truth, masked) for name, x in compared.items()}
    results.write_json(found.out / "scores.json", errors)
    print(f"masked: {masked.mean():.1%} of the pixels")
    for name, error in errors.items():
        print(f"error inside of {name}: {error:.2f} of 255")


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
