"""Distances over steps, guidance, eta and samplers, with confidence intervals over seeds."""

import csv
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.sampling import SamplerName
from ldm_jax.errors import InputError
from ldm_jax.evaluate import features, results
from ldm_jax.evaluate.chart import chart
from ldm_jax.evaluate.generate import Generation, request_for
from ldm_jax.evaluate.sets import open_set
from ldm_jax.metrics.frechet import frechet_distance
from ldm_jax.runtime.files import whole, write_whole
from ldm_jax.sampling.adapters import AdapterOptions
from ldm_jax.sampling.drawing import compiled, draw_in_turn
from ldm_jax.sampling.guidance import Guidance
from ldm_jax.sampling.sampler import Sampler
from ldm_jax.sections import Request
from ldm_jax.settings import AtLeast1, AtLeast2, Factors

TABLES = ("sweep.csv", "sweep.md", "sweep.png")
CELL = ("sampler", "steps", "guidance", "eta")  # what cells differ by, but for their seeds


@dataclass(frozen=True)
class Options(features.Options):
    """The settings of `sweep`; what is () is as the run's config has it."""

    out: str | None = None
    """folder to write to; RUN/sweep where not given. Finished cells in it are not drawn again"""
    steps: Factors = (10, 25, 50)
    """of sampling"""
    guidance: tuple[float, ...] = ()
    """scales of classifier-free guidance"""
    eta: tuple[float, ...] = ()
    """of samplers that take it"""
    samplers: tuple[SamplerName, ...] = ()
    """by name"""
    seeds: AtLeast1 = 3
    """sets of samples per cell, with disjoint seeds"""
    num: AtLeast2 = 1000
    """samples per set"""
    num_reference: AtLeast2 | None = None
    """images of the reference; all where not given"""
    draw_batch: AtLeast1 = 16
    """images per batch of sampling"""
    adapters: AdapterOptions = field(default_factory=AdapterOptions)


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
    described = runs.attach(runs.describe(Path(run)), options.adapters.adapters.adapter)
    cells = plan(described.experiment.sampling, options)
    requests = {cell: _request(described, options, cell) for cell in cells}
    reference = open_set(b)
    num_reference = features.number(options.num_reference, reference, "--num-reference")
    network = features.load(options, reference)
    out = results.folder_of(options.out, run, "sweep")
    of = network.extractor
    facts = {
        "run": str(described.run),
        "checkpoint": described.step,
        "reference": b,
        "num": options.num,
        "num_reference": num_reference,
        **network.facts(),
        "extractor": of.title,
    }
    results.check_own(out, "measured.json", "reference", "cells", *TABLES)
    results.note(out, "measured.json", facts, "cells of another sweep")
    missing = [cell for cell in cells if not (out / "cells" / cell.file()).exists()]
    if missing:
        trained, extract = runs.with_weights(described), network.start()
        real = features.features_of(reference, num_reference, extract, options.batch_size)
        for _, group in itertools.groupby(missing, lambda cell: cell.sampler):
            group = list(group)
            generate = compiled(trained, requests[group[0]])
            for cell in group:
                drawn = draw_in_turn(trained, requests[cell], generate=generate)
                found = extract(_as_large(drawn, options.batch_size), options.num)
                distance = frechet_distance(found.moments["pool"], real.moments["pool"])
                result = {**cell._asdict(), "distance": distance}
                results.write_json(out / "cells" / cell.file(), result)
                print(f"{cell.file().removesuffix('.json')}: {distance:.4g}", flush=True)
    rows = summary([results.read_json(out / "cells" / cell.file()) for cell in cells])
    _report(out, rows, of.distance, facts)
    print(f"table: {out / 'sweep.md'}, plot: {out / 'sweep.png'}")


def plan(own: Any, options: Options) -> list[Cell]:
    """All cells, those of one sampler together.

    Raises:
        InputError: eta without a sampler that uses it.
    """
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
        adapters=options.adapters,
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
    groups: dict[tuple, list[float]] = {}
    for each in found:
        groups.setdefault(tuple(each[name] for name in CELL), []).append(each["distance"])
    return [
        dict(zip(CELL, key, strict=True))
        | {"seeds": len(values), "mean": float(np.mean(values)), "interval": interval(values)}
        for key, values in groups.items()
    ]


def interval(values: Sequence[float]) -> float | None:
    """t s / sqrt(n), half of the 95 % confidence interval of the mean (Student's t)."""
    n = len(values)
    if n < 2:
        return None
    return float(special.stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / math.sqrt(n))


def _report(out: Path, rows: list[dict[str, Any]], distance: str, facts: dict[str, Any]) -> None:
    with whole(out / "sweep.csv") as new, new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    lines = [f"# {distance} of {facts['run']}", ""]
    lines += [f"| sampler | steps | guidance | eta | {distance} |", "|---|---|---|---|---|"]
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows:
        sampler, steps, guidance = row["sampler"], row["steps"], f"{row['guidance']:g}"
        eta = "" if row["eta"] is None else f"{row['eta']:g}"
        half = "" if row["interval"] is None else f" +- {row['interval']:.2g}"
        lines.append(f"| {sampler} | {steps} | {guidance} | {eta} | {row['mean']:.5g}{half} |")
        name = f"{sampler}, guidance {guidance}" + (f", eta {eta}" if eta else "")
        curves.setdefault(name, []).append((steps, row["mean"], row["interval"] or 0.0))
    seeds, num = rows[0]["seeds"], facts["num"]
    lines += ["", f"Mean and 95 % interval over {seeds} sets of {num} samples.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    write_whole(out / "sweep.md", "\n".join(lines) + "\n")
    image_files.save(out / "sweep.png", chart(curves, "steps", distance))
