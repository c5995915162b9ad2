"""Distances over steps, guidance, eta and samplers, with confidence intervals over seeds."""

import csv
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.sampling import SamplerName
from ldm_jax.errors import InputError
from ldm_jax.evaluate.asked import note, write_json
from ldm_jax.evaluate.chart import chart
from ldm_jax.evaluate.generate import Generation, request_for
from ldm_jax.evaluate.samples import check_statistics, count_of, features_of, gather
from ldm_jax.evaluate.sets import open_set
from ldm_jax.experiments.train import check_batch
from ldm_jax.extractors.extract import make_extract
from ldm_jax.extractors.names import ExtractorName, ResizeName, extractor
from ldm_jax.metrics.frechet import frechet_distance
from ldm_jax.sampling.drawing import compiled, draw_in_turn
from ldm_jax.sampling.guidance import Guidance
from ldm_jax.sampling.sampler import Sampler
from ldm_jax.sections import Request
from ldm_jax.settings import check_folder
from ldm_jax.weights.names.extractors import load_extractor

# Student's t for a two-sided interval of 95 %, by degrees of freedom; beyond them nearly normal
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
NORMAL95 = 1.96


@dataclass(frozen=True)
class Options:
    """The settings of `sweep`; what is () is as the run's config has it."""

    out: str | None = None
    """folder to write to; RUN/sweep where not given. Finished cells in it are not drawn again"""
    steps: tuple[int, ...] = (10, 25, 50)
    """of sampling"""
    guidance: tuple[float, ...] = ()
    """scales of classifier-free guidance"""
    eta: tuple[float, ...] = ()
    """of samplers that take it"""
    samplers: tuple[SamplerName, ...] = ()
    """by name"""
    seeds: int = 3
    """sets of samples per cell, with disjoint seeds"""
    num: int = 1000
    """samples per set"""
    num_reference: int | None = None
    """images of the reference; all where not given"""
    extractor: ExtractorName = "inception"
    """the network whose features are compared"""
    weights: str | None = None
    """a file with its weights; default: installed, or downloaded"""
    resize: ResizeName | None = None
    """the filter that resizes images for it; default: its own"""
    batch_size: int = 32
    """images per batch of the network"""
    draw_batch: int = 16
    """images per batch of sampling"""


class Cell(NamedTuple):
    """One set of samples."""

    sampler: str
    steps: int
    guidance: float
    eta: float | None
    seed: int

    def file(self) -> str:
        """The name of its result."""
        eta = "" if self.eta is None else f"-eta{self.eta:g}"
        return f"{self.sampler}-{self.steps}-guidance{self.guidance:g}{eta}-seed{self.seed}.json"


def sweep(run: str, b: str, options: Options) -> None:
    """Measures each missing cell; writes OUT/sweep.csv, sweep.md and sweep.png."""
    check_batch(options.batch_size, "--batch-size")
    described = runs.describe(Path(run))
    cells = plan(described.experiment.sampling, options)
    requests = {cell: _request(described, options, cell) for cell in cells}
    network = extractor(options.extractor, options.resize)
    reference = open_set(b)
    num_reference = count_of(options.num_reference, reference, "--num-reference")
    weights = load_extractor(network, options.weights)
    check_statistics(reference, network, weights)
    out = Path(options.out or runs.folder(run) / "sweep")
    check_folder(out, "--out")
    facts = {
        "run": str(described.run),
        "checkpoint": described.step,
        "reference": b,
        "num": options.num,
        "num_reference": num_reference,
        "extractor": network.title,
        "resize": network.resize,
        "sha256": weights.sha256,
    }
    note(out, "measured.json", facts, "cells of another sweep")
    missing = [cell for cell in cells if not (out / "cells" / cell.file()).exists()]
    if missing:
        trained = runs.with_weights(described)
        extract = make_extract(network, weights.params, (network.main,), options.batch_size)
        real = features_of(reference, num_reference, extract, network.main, options.batch_size)
        for _, group in itertools.groupby(missing, lambda cell: cell.sampler):
            group = list(group)
            generate = compiled(trained, requests[group[0]])
            for cell in group:
                drawn = draw_in_turn(trained, requests[cell], generate=generate)
                parts = extract(_as_large(drawn, options.batch_size), options.num)
                found = gather(parts, network.main)
                distance = frechet_distance(found.moments["pool"], real.moments["pool"])
                write_json(out / "cells" / cell.file(), {**cell._asdict(), "distance": distance})
                print(f"{cell.file().removesuffix('.json')}: {distance:.4g}", flush=True)
    rows = summary([json.loads((out / "cells" / cell.file()).read_text("utf-8")) for cell in cells])
    _report(out, rows, network.distance, facts)
    print(f"table: {out / 'sweep.md'}, plot: {out / 'sweep.png'}")


def plan(own: Any, options: Options) -> list[Cell]:
    """All cells, those of one sampler together.

    Raises:
        InputError: an empty set, or eta without a sampler that uses it.
    """
    for name in ("seeds", "num"):
        value, least = getattr(options, name), {"seeds": 1, "num": 2}[name]
        if value < least:
            raise InputError(f"--{name} is {value}: expected at least {least}")
    samplers = options.samplers or (own.sampler,)
    takers = sampling.takers_of("eta")
    if options.eta and not set(samplers) & set(takers):
        raise InputError(
            f"--eta given to {', '.join(samplers)}: leave it out, only {', '.join(takers)} use it"
        )
    cells = []
    for sampler in samplers:
        takes = sampler in takers
        etas = (options.eta or (own.eta if sampler == own.sampler else None,)) if takes else (None,)
        for steps, guidance, eta in itertools.product(
            options.steps, options.guidance or (own.guidance,), etas
        ):
            cells += [
                Cell(sampler, steps, guidance, eta, seed * options.num)
                for seed in range(options.seeds)
            ]
    return cells


def _request(described: runs.Trained, options: Options, cell: Cell) -> Request:
    generation = Generation(
        seed=cell.seed,
        draw_batch=options.draw_batch,
        sampler=Sampler(sampler=cell.sampler, steps=cell.steps, eta=cell.eta),
        guidance=Guidance(guidance=cell.guidance),
    )
    return request_for(described, options.num, generation)[0]


def _as_large(drawn, size: int):
    """Batches of any size, none larger than `size`."""
    for images in drawn:
        for start in range(0, len(images), size):
            yield images[start : start + size]


# Results


def summary(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per cell: its mean over seeds, with half of the 95 % interval (None for one seed)."""
    names = ("sampler", "steps", "guidance", "eta")
    groups: dict[tuple, list[float]] = {}
    for each in found:
        groups.setdefault(tuple(each[name] for name in names), []).append(each["distance"])
    return [
        {
            **dict(zip(names, key, strict=True)),
            "seeds": len(values),
            "mean": float(np.mean(values)),
            "interval": interval(values),
        }
        for key, values in groups.items()
    ]


def interval(values: Sequence[float]) -> float | None:
    """t s / sqrt(n), half of the 95 % confidence interval of the mean."""
    n = len(values)
    if n < 2:
        return None
    t = T95[n - 2] if n - 2 < len(T95) else NORMAL95
    return float(t * np.std(values, ddof=1) / math.sqrt(n))


def _report(out: Path, rows: list[dict[str, Any]], distance: str, facts: dict[str, Any]) -> None:
    with (out / "sweep.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    lines = [
        f"# {distance} of {facts['run']}",
        "",
        f"| sampler | steps | guidance | eta | {distance} |",
    ]
    lines.append("|---|---|---|---|---|")
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows:
        eta = "" if row["eta"] is None else f"{row['eta']:g}"
        half = "" if row["interval"] is None else f" +- {row['interval']:.2g}"
        lines.append(
            f"| {row['sampler']} | {row['steps']} | {row['guidance']:g} | {eta} | "
            f"{row['mean']:.5g}{half} |"
        )
        name = f"{row['sampler']}, guidance {row['guidance']:g}" + (f", eta {eta}" if eta else "")
        point = (row["steps"], row["mean"], row["interval"] or 0.0)
        curves.setdefault(name, []).append(point)
    lines += [
        "",
        f"Mean and 95 % interval over {rows[0]['seeds']} sets of {facts['num']} samples.",
        "",
    ]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    (out / "sweep.md").write_text("\n".join(lines) + "\n", "utf-8")
    image_files.save(out / "sweep.png", chart(curves, "steps", distance))
