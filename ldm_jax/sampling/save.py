"""Images in a folder, with a report of what drew them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ldm_jax
from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.runtime.files import whole, write_whole
from ldm_jax.sampling.drawing import Drawn
from ldm_jax.sampling.png_metadata import text
from ldm_jax.sections import Request


def write(
    out: Path,
    drawn: Drawn,
    trained: runs.Trained | runs.TrainedFirstStage,
    request: Request,
) -> None:
    """Writes OUT/000000.png ..., grid.png, samples.npz and report.json.

    The preview of image i at step k is OUT/previews/i-k.png. A row of the grid is one between two
    latents, where the request asks for such.

    Each image of a diffusion model says how to draw it again, see `png_metadata`.
    The noise that was found behind an image is written, too, as latents.npy. Images that an
    earlier command left beyond the last of these are removed.
    """
    images = drawn.images
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("[0-9]" * 6 + ".png"):
        if int(old.stem) >= len(images):
            old.unlink()
    for i, image in enumerate(images):
        note = None if "rows" in request else text(trained, request, i)
        image_files.save(out / f"{i:06d}.png", image, note)
    for old in (out / "previews").glob("[0-9]*-[0-9]*.png"):
        old.unlink()
    for i, previews in enumerate(() if drawn.previews is None else drawn.previews):
        for k, image in enumerate(previews, 1):
            step = k * request.decoding.preview_every
            image_files.save(out / "previews" / f"{i:06d}-{step:03d}.png", image)
    columns = request.rows.interpolate if "rows" in request else None
    image_files.save(out / "grid.png", image_files.grid(images, columns))
    with whole(out / "samples.npz") as file:
        np.savez(file, images)
    if drawn.latents is not None:
        with whole(out / "latents.npy") as file:
            np.save(file, drawn.latents)
    write_whole(out / "report.json", json.dumps(report(trained, request), indent=2) + "\n")


def report(trained: runs.Trained | runs.TrainedFirstStage, request: Request) -> dict[str, Any]:
    """All that is needed to draw the same images again."""
    return {
        "run": str(trained.run),
        "checkpoint": trained.step,
        "weights": "ema",
        "request": request.as_dict(),
        "image_size": trained.experiment.data.image_size,
        "classes": trained.class_names,
        "ldm_jax": ldm_jax.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "config": asdict(trained.experiment),
    }
