"""Images in a folder, with a report of what drew them and a list of what was written."""

import json
import re
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ldm_jax
from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.errors import InputError
from ldm_jax.runtime.files import whole, write_whole
from ldm_jax.sampling.drawing import Drawn
from ldm_jax.sampling.png_metadata import text
from ldm_jax.sampling.sampler import times_of
from ldm_jax.sampling.view import view
from ldm_jax.sections import Request, RunView
from ldm_jax.settings import check_folder

REPORT = "report.json"
NAME = re.compile(
    r"(stages/\d+/)?\d{6,}\.png|previews/\d{6,}-\d{3,}\.png|grid\.png|samples\.npz|latents\.npy|"
    r"interpolation\.gif|report\.json"
)


def names(request: Request, run: RunView) -> list[str]:
    """The files that a request is written to, in its folder.

    The preview of image i at step k is previews/i-k.png.
    """
    images = [f"{i:06d}.png" for i in range(request.images.num)]
    options, previews = request.options(), []
    if every := options.get("preview_every"):
        steps = range(every, len(times_of(request, run)), every)
        previews = [f"previews/{i:06d}-{k:03d}.png" for i in range(len(images)) for k in steps]
    latents = ["latents.npy"] * bool(options.get("invert"))
    gif = ["interpolation.gif"] * bool(request.output.gif)
    return [*images, *previews, "grid.png", "samples.npz", *latents, *gif, REPORT]


def check_out(out: Path, request: Request, run: RunView) -> None:
    """Raises InputError where a folder cannot be filled, or has files of a request's names that
    sample.py has not written, by its report."""
    check_folder(out, "--out")
    own = written(out)
    others = [x for x in names(request, run) if x not in own and (out / x).exists()]
    if others:
        raise InputError(
            f"--out '{out}' has {len(others)} files that would be written over and that its "
            f"{REPORT} does not list, such as '{others[0]}': expected another folder"
        )


def written(out: Path) -> set[str]:
    """The files of a folder that sample.py has written, by its report."""
    try:
        found = json.loads((out / REPORT).read_text("utf-8"))
        listed = found["files"] if "files" in found else _of_before(found)
        return {name for name in listed if NAME.fullmatch(name)}
    except (OSError, ValueError, TypeError, KeyError):
        return set()  # no report, or another's


def _of_before(report: dict[str, Any]) -> list[str]:
    """What a report of before it had a list is about."""
    num = int(report["request"]["images"]["num"] if "request" in report else report["num"])
    images = [f"{i:06d}.png" for i in range(num)]
    return [*images, "grid.png", "samples.npz", "latents.npy", "interpolation.gif", REPORT]


def write(
    out: Path,
    drawn: Drawn,
    trained: runs.Trained,
    request: Request,
) -> None:
    """Writes the report, and the images as 000000.png ..., together in grid.png and samples.npz.

    Files that an earlier command wrote there, and listed, are removed first, and the report comes
    before what it lists, so that nothing is left over of a command that was ended. A row of the
    grid is one between two latents, where the request asks for such. Each image of a diffusion
    model says how to draw it again, see `png_metadata`. Other files are kept, and counted.

    Raises:
        InputError: see `check_out`.
    """
    run = view(trained)
    check_out(out, request, run)
    files = names(request, run)
    out.mkdir(parents=True, exist_ok=True)
    for name in written(out) - {REPORT}:
        (out / name).unlink(missing_ok=True)
    kept = sorted({path.name for path in out.glob("[!.]*")} - {REPORT, "previews"})
    write_whole(out / REPORT, json.dumps(report(trained, request, files), indent=2) + "\n")
    images = drawn.images
    for i, image in enumerate(images):
        note = None if "rows" in request else text(trained, request, i)
        image_files.save(out / f"{i:06d}.png", image, note)
    previews = [name for name in files if name.startswith("previews/")]
    if drawn.previews is not None:
        flat = drawn.previews.reshape(-1, *images.shape[1:])
        for name, image in zip(previews, flat, strict=True):
            image_files.save(out / name, image)
    columns = request.rows.interpolate if "rows" in request else None
    image_files.save(out / "grid.png", image_files.grid(images, columns))
    with whole(out / "samples.npz") as file:
        np.savez(file, images)
    if drawn.latents is not None:
        with whole(out / "latents.npy") as file:
            np.save(file, drawn.latents)
    if request.output.gif:
        image_files.animate(out / "interpolation.gif", images, request.output.gif)
    others = f"; {len(kept)} others are kept, such as {kept[0]}" if kept else ""
    print(f"{len(images)} images in {out}, together in {out / 'grid.png'}{others}")


def report(trained: runs.Trained, request: Request, files: Collection[str]) -> dict[str, Any]:
    """All that is needed to draw the same images again, and the files that hold them."""
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
        "files": list(files),
    }
