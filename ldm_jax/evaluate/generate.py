"""Draws the samples for a distance, in shards; an interrupted command continues."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from ldm_jax import runs, sampling
from ldm_jax.data import image_files, pipeline
from ldm_jax.evaluate.results import check_own, folder_of, note, write_json
from ldm_jax.evaluate.sets import quality_options
from ldm_jax.runtime.files import whole
from ldm_jax.sampling.adapters import AdapterOptions
from ldm_jax.sampling.guidance import Guidance
from ldm_jax.sampling.request import asked
from ldm_jax.sampling.sampler import Sampler
from ldm_jax.sampling.view import view
from ldm_jax.sections import Request, RunView
from ldm_jax.settings import AtLeast1, check_folder

SHOWN = 100  # images in the grid


@dataclass(frozen=True)
class Drawing:
    """How images that are measured are drawn; what is not given is as the run's config has it."""

    seed: int = 0
    """seed of the first image"""
    sampler: Sampler = field(default_factory=Sampler)
    guidance: Guidance = field(default_factory=Guidance)
    adapters: AdapterOptions = field(default_factory=AdapterOptions)

    def described(self, run: str) -> runs.Trained:
        """The diffusion model of a run with the adapters that are asked for, without weights."""
        return runs.attach(runs.describe(Path(run)), self.adapters.adapters.adapter)

    def request(self, run: RunView, **options: Any) -> Request:
        """The request of these and of further options by name.

        Raises:
            InputError: what the model cannot be asked for.
        """
        found = asked(run, seed=self.seed, **options)
        for section in (self.sampler, self.guidance, *vars(self.adapters).values()):
            found = found.with_section(section)
        return found.filled(run)


@dataclass(frozen=True)
class Generation(Drawing):
    """How samples are drawn; what is not given is as the run's config has it."""

    labels: Literal["balanced", "random"] = "balanced"
    """cycle through the classes, or draw one per image"""
    draw_batch: AtLeast1 = 16
    """images per batch"""
    shard_size: AtLeast1 = 1000
    """images a file, about"""
    from_data: AtLeast1 | None = None
    """number of conditions of held-out images, of models of boxes, maps, masks or small images"""


@dataclass(frozen=True)
class Options(Generation):
    """The settings of `generate`."""

    out: str | None = None
    """folder to write to; RUN/generated where not given"""
    num: AtLeast1 = 50_000
    """samples"""


def generate(run: str, options: Options) -> None:
    """Draws samples of a run into OUT/shard-00000.npz ... (ADM's layout), with a report."""
    out = folder_of(options.out, run, "generated")
    draw_shards(run, out, options.num, options)
    print(f"{options.num} images in {out}, the first in {out / 'grid.png'}")


def draw_shards(run: str, out: Path, num: int, options: Generation) -> dict[str, Any]:
    """Draws `num` samples into the missing shards in `out`, with a report, and returns it.

    Image i depends on seed S + i alone, so an interrupted call, repeated, ends with the same
    files.

    Raises:
        InputError: an invalid request, or a folder with samples of another request.
    """
    described = options.described(run)
    request, conditions = request_for(described, num, options)
    check_folder(out, "--out")
    size = request.images.batch_size
    each = max(1, options.shard_size // size) * size
    about = {"run": str(described.run), "checkpoint": described.step, "shard_size": each}
    about = json.loads(json.dumps({**about, **request.as_dict()}))
    check_own(out, "request.json", "shard_size", "report.json", "grid.png", "shard-00000.npz")
    note(out, "request.json", about, "samples of another request")
    shards = [out / f"shard-{n:05d}.npz" for n in range(-(-num // each))]
    done = next((n for n, path in enumerate(shards) if not path.exists()), len(shards))
    if done < len(shards):
        _draw(runs.with_weights(described), request, shards, done, each)
    about = _about(described, request, conditions)
    report = {"generated": about, "sampler": request.sampler.sampler, "num": num}
    write_json(out / "report.json", report)
    return about


def request_for(described: runs.Trained, num: int, options: Generation) -> tuple[Request, str]:
    """The request for `num` samples, and how a report names their conditions."""
    run, more = view(described), {"from_data": options.from_data}
    request = options.request(run, num=num, batch_size=options.draw_batch, **more)
    classes = len(_labels(request))
    if classes and options.labels == "random":
        drawn = np.random.default_rng(options.seed).integers(classes, size=num)
        return request.replace(label=tuple(drawn.tolist())), "random"
    if classes:
        return request, f"balanced over {classes} classes"
    if run.tokenizers:
        source, _ = pipeline.open_source(run.data)
        texts = tuple(pipeline.captions(source, num))
        return request.replace(prompt=texts), "captions of the training data, cycled"
    held_out = options.from_data
    return request, f"{held_out} conditions of held-out images" if held_out else "none"


def _labels(request: Request) -> tuple[int, ...]:
    return request.labels.label if "labels" in request else ()


def _draw(
    trained: runs.Trained, request: Request, shards: Sequence[Path], done: int, each: int
) -> None:
    held, written = [], done
    labels, num = _labels(request), request.images.num
    bar = tqdm(total=num, initial=done * each, desc="samples", unit="image", disable=None)
    with bar:
        for images in sampling.draw_in_turn(trained, request, done * each):
            held.append(images)
            bar.update(len(images))
            count = sum(map(len, held))
            if count < each and written * each + count < num:
                continue
            block = np.concatenate(held)
            rows = written * each + np.arange(count)
            of = {"arr_1": np.asarray(labels, np.int32)[rows % len(labels)]} if labels else {}
            with whole(shards[written]) as file:
                np.savez(file, arr_0=block, **of)
            if written == 0:
                grid = image_files.grid(block[:SHOWN])
                image_files.save(shards[0].with_name("grid.png"), grid)
            held, written = [], written + 1
            if not sys.stderr.isatty():
                print(f"{min(written * each, num)} of {num} samples", flush=True)


def _about(trained: runs.Trained, request: Request, conditions: str) -> dict[str, Any]:
    """What decides how good samples can be."""
    experiment = trained.experiment
    return {
        "run": str(trained.run),
        "checkpoint": trained.step,
        "weights": "ema",
        "ema_decay": experiment.optim.ema_decay,
        "autoencoder": {
            "kind": type(experiment.first_stage.model).__name__,
            "factor": trained.model.first_stage.factor,
            "channels": trained.model.first_stage.channels,
        },
        "labels": conditions,
        **quality_options(request.options()),
    }
