"""Draws the samples for a distance, in shards; an interrupted command continues."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from ldm_jax import runs, sampling
from ldm_jax.conditioning.label import Label
from ldm_jax.conditioning.text import Text
from ldm_jax.data import image_files, pipeline
from ldm_jax.diffusion.sampling import GridName, SamplerName
from ldm_jax.evaluate.asked import note
from ldm_jax.sampling import Request
from ldm_jax.settings import check_folder

SHOWN = 100  # images in the grid


@dataclass(frozen=True)
class Generation:
    """How samples are drawn; what is None is as the run's config has it."""

    labels: Literal["balanced", "random"] = "balanced"
    """cycle through the classes, or draw one per image"""
    draw_batch: int = 16
    """images per batch"""
    shard_size: int = 1000
    """images per file, about"""
    seed: int = 0
    steps: int | None = None
    sampler: SamplerName | None = None
    grid: GridName | None = None
    guidance: float | None = None
    eta: float | None = None
    from_data: int | None = None
    """conditions of N held-out images, for models of boxes, maps, masks or small images"""


@dataclass(frozen=True)
class Options(Generation):
    """The settings of `generate`."""

    out: str | None = None
    """folder to write to; RUN/generated where not given"""
    num: int = 50_000


def generate(run: str, options: Options) -> None:
    """Draws samples of a run into OUT/shard-00000.npz ... (ADM's layout), with a report."""
    out = Path(options.out or runs.folder(run) / "generated")
    draw_shards(run, out, options.num, options)
    print(f"{options.num} images in {out}, the first in {out / 'grid.png'}")


def draw_shards(run: str, out: Path, num: int, options: Generation) -> dict[str, Any]:
    """Draws `num` samples into the missing shards in `out`, with a report, and returns it.

    Image i depends on seed S + i alone, so an interrupted call, repeated, ends with the same
    files.

    Raises:
        InputError: an invalid request, or a folder with samples of another request.
    """
    described = runs.describe(Path(run))
    wanted, labels = wanted_samples(described, num, options)
    check_folder(out, "--out")
    each = max(1, options.shard_size // wanted.batch_size) * wanted.batch_size
    asked = json.loads(
        json.dumps({"run": str(described.run), "checkpoint": described.step, **asdict(wanted)})
    )
    note(out, "request.json", {**asked, "shard_size": each}, "samples of another request")
    shards = [out / f"shard-{n:05d}.npz" for n in range(-(-num // each))]
    done = next((n for n, path in enumerate(shards) if not path.exists()), len(shards))
    if done < len(shards):
        trained = runs.with_weights(described)
        _draw(trained, wanted, shards, done, each)
    facts = _facts(described, wanted, labels)
    report = {"generated": facts, "sampler": wanted.sampler, "num": num}
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return facts


def wanted_samples(described: runs.Trained, num: int, options: Generation) -> tuple[Request, str]:
    """The request for `num` samples, and how a report names their conditions."""
    condition, data = described.experiment.condition, described.experiment.data
    names = ("seed", "steps", "sampler", "grid", "guidance", "eta", "from_data")
    settings = {name: getattr(options, name) for name in names}
    wanted = sampling.resolve(described, num=num, batch_size=options.draw_batch, **settings)
    if isinstance(condition, Label) and options.labels == "random":
        drawn = np.random.default_rng(options.seed).integers(condition.num_classes, size=num)
        return replace(wanted, labels=tuple(drawn.tolist())), "random"
    if isinstance(condition, Label):
        return wanted, f"balanced over {condition.num_classes} classes"
    if isinstance(condition, Text):
        source, _ = pipeline.open_source(data)
        texts = pipeline.captions(source, num)
        return replace(wanted, prompts=tuple(texts)), "captions of the training data, cycled"
    return wanted, f"{options.from_data} conditions of held-out images" if options.from_data else (
        "none"
    )


def _draw(
    trained: runs.Trained, wanted: Request, shards: Sequence[Path], done: int, each: int
) -> None:
    held, written = [], done
    labels = wanted.labels
    bar = tqdm(total=wanted.num, initial=done * each, desc="samples", unit="image", disable=None)
    with bar:
        for images in sampling.draw_in_turn(trained, wanted, done * each):
            held.append(images)
            bar.update(len(images))
            count = sum(map(len, held))
            if count < each and written * each + count < wanted.num:
                continue
            block = np.concatenate(held)
            rows = written * each + np.arange(count)
            of = {"arr_1": np.asarray(labels, np.int32)[rows % len(labels)]} if labels else {}
            partial = shards[written].with_name(f".{shards[written].name}")
            np.savez(partial, arr_0=block, **of)
            partial.replace(shards[written])
            if written == 0:
                grid = image_files.grid(block[:SHOWN])
                image_files.save(shards[0].with_name("grid.png"), grid)
            held, written = [], written + 1
            if not sys.stderr.isatty():
                print(f"{min(written * each, wanted.num)} of {wanted.num} samples", flush=True)


def _facts(trained: runs.Trained, wanted: Request, labels: str) -> dict[str, Any]:
    """What the quality of samples depends on."""
    experiment = trained.experiment
    names = ("sampler", "steps", "grid", "times", "guidance", "eta", "seed")
    asked = {name: getattr(wanted, name) for name in names}
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
        "labels": labels,
        **{name: value for name, value in asked.items() if value not in (None, ())},
    }
