"""How near what a model puts into holes is to what was there, against the mean colour."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ldm_jax import cli, pictures
from ldm_jax.config import Inpainting
from ldm_jax.evaluate.held_out import Options, draw_held_out
from ldm_jax.types import Array


def inpainting(run: str, words: Sequence[str], description: str) -> None:
    """Fills holes in held-out images, and prints the error inside them."""
    options = cli.override(Options(), words, "evaluate.py inpainting RUN", description)
    found = draw_held_out(run, Inpainting, options, "inpainting")
    hidden = found.told["mask"] > 0.5
    plain = with_mean_color(found.truth, hidden)
    masked = np.where(hidden, 0, found.truth).astype(np.uint8)
    shown = np.stack([masked, plain, found.drawn, found.truth], axis=1)[:8]
    out = Path(options.out or Path(run) / "inpainting")
    pictures.save(out / "grid.png", pictures.grid(shown.reshape(-1, *shown.shape[2:]), 8))
    ours, theirs = (error_inside(x, found.truth, hidden) for x in (found.drawn, plain))
    print(f"hidden: {hidden.mean():.1%} of the pixels")
    print(f"error inside: {ours:.2f} of 255 (mean colour of the rest {theirs:.2f})")


def with_mean_color(images: Array, hidden: Array) -> Array:
    """uint8 images [N, H, W, 3] whose hidden pixels [N, H, W, 1] have the mean of the others."""
    seen = ~hidden
    total = np.sum(images * seen, axis=(1, 2), keepdims=True)
    mean = total / np.maximum(np.sum(seen, axis=(1, 2), keepdims=True), 1)
    return np.where(hidden, np.round(mean), images).astype(np.uint8)


def error_inside(images: Array, truth: Array, hidden: Array) -> float:
    """Root of the mean squared difference of hidden pixels, in 255ths."""
    squared = np.square(images.astype(np.float64) - truth)
    return float(np.sqrt(np.sum(squared * hidden) / (3 * np.sum(hidden))))
