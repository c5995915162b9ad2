"""What sample.py is asked of a cascade, and the folder that it writes."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jax
import numpy as np

import ldm_jax
from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.errors import InputError
from ldm_jax.experiments.cascade import Cascade
from ldm_jax.runtime.files import whole, write_whole
from ldm_jax.sampling.cascade import draw, parts_of
from ldm_jax.sampling.embeddings import Embeddings, Given, given
from ldm_jax.sampling.images import MOST
from ldm_jax.sampling.save import REPORT, written
from ldm_jax.sections import Texts
from ldm_jax.settings import AtLeast1, check_folder


@dataclass(frozen=True)
class Asked(Embeddings):
    """The options of sample.py for a cascade."""

    prompt: Texts = ()
    """captions of the images, cycled"""
    num: AtLeast1 | None = None
    """how many images; one for each prompt, or 16, where not given"""
    seed: int = 0
    """of the first image; image i belongs to seed S + i alone"""
    out: str | None = None
    """folder to write to; samples-NAME-seedS beside the last stage's run where not given"""
    all_stages: bool = False
    """keeps the images of the stages before the last, in DIR/stages/0 and so on"""


def with_sampling(cascade: Cascade) -> Cascade:
    """The cascade with each run's own sampling where a stage has none.

    Raises:
        InputError: stages that do not follow one another, or what is no run of a diffusion model.
    """
    cascade.check()
    own = (
        stage.sampling or runs.describe(Path(stage.run)).experiment.sampling
        for stage in cascade.stages
    )
    stages = zip(cascade.stages, own, strict=True)
    return Cascade(tuple(replace(stage, sampling=sampling) for stage, sampling in stages))


def draw_and_write(path: Path, cascade: Cascade, asked: Asked) -> None:
    """Draws the images, and writes them with a report.

    Args:
        path: of the cascade's file.

    Raises:
        InputError: stages that do not fit, or a folder that cannot be filled.
    """
    num = asked.interpolate or asked.num or len(asked.prompt) or 16
    if asked.interpolate and asked.num not in (None, asked.interpolate):
        raise InputError(
            f"--num is {asked.num} and --interpolate {asked.interpolate}: leave --num out"
        )
    if not 0 <= asked.seed < 2**32 - min(num, MOST):
        raise InputError(f"--seed is {asked.seed}: expected 0 to {2**32 - num - 1}")
    parts = parts_of(cascade)
    beside = Path(cascade.stages[-1].run).parent
    out = Path(asked.out or beside / f"samples-{path.stem}-seed{asked.seed}")
    asked.check_embeddings(parts, asked.prompt)
    first = 1 if asked.uses_embeddings else 0  # stage that draws
    drawing = [k for k in range(first, len(parts)) if parts[k].model.first_stage.images]
    kept = drawing[:-1] if asked.all_stages else ()
    names = [f"{i:06d}.png" for i in range(num)]
    files = [f"stages/{k}/{name}" for k in kept for name in names]
    files += [*names, "grid.png", "samples.npz", REPORT]
    check_folder(out, "--out")
    before = written(out)
    others = [name for name in files if name not in before and (out / name).exists()]
    if others:
        raise InputError(
            f"--out '{out}' has files that would be written over, such as '{others[0]}': expected "
            "another folder"
        )
    seeds = np.arange(asked.seed, asked.seed + num, dtype=np.uint32)
    prompts = asked.prompt or ("",)
    of = given(asked, parts, seeds, prompts) if first else Given({}, seeds, prompts)
    found = draw(parts[first:], of.seeds, of.prompts, of.inputs, of.noise)
    drawn = {k: image_files.to_uint8(found[k - first]) for k in drawing}
    images = drawn[drawing[-1]]
    for name in before - {REPORT}:
        (out / name).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    report = {
        "cascade": asdict(cascade),
        "request": asdict(asked) | {"num": num},
        "ldm_jax": ldm_jax.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "files": files,
    }
    write_whole(out / REPORT, json.dumps(report, indent=2) + "\n")
    for folder, several in [*((f"stages/{k}/", drawn[k]) for k in kept), ("", images)]:
        for name, image in zip(names, several, strict=True):
            image_files.save(out / f"{folder}{name}", image)
    image_files.save(out / "grid.png", image_files.grid(images))
    with whole(out / "samples.npz") as file:
        np.savez(file, images)
    print(f"{num} images in {out}, together in {out / 'grid.png'}")
