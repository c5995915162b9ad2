"""How probable the latents of images are under a diffusion model, in bits per dimension."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ldm_jax
from ldm_jax import runs
from ldm_jax.data import pipeline
from ldm_jax.data.settings import Data
from ldm_jax.diffusion.process import log_snr
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.evaluate.latent_likelihood import make_likelihood
from ldm_jax.experiments.train import check_batch
from ldm_jax.runtime.sharding import devices
from ldm_jax.settings import check_folder, check_within
from ldm_jax.types import Process

TERMS = ("bits", "x0_error", "eps_error")  # of each time


@dataclass(frozen=True)
class Options:
    """The settings of `bits`."""

    out: str | None = None
    """folder to write to; RUN/bits where not given"""
    num: int = 64
    """images"""
    batch_size: int = 16
    """images measured at once"""
    split: str = "test"
    """of data sets that have splits"""
    seed: int = 0
    """of all noise, and of which images"""
    conditional: bool = True
    """condition on each image's label or caption; False: unconditional"""
    flow_steps: int = 100
    """of the probability flow, by Heun's method"""
    probes: int = 1
    """random vectors per image of the trace estimator (Hutchinson 1989)"""


def bits(run: str, path: str, options: Options) -> None:
    """Measures latents of the images of `path`; prints and writes the report.

    Raises:
        InputError: what cannot be measured, before anything is computed or written.
    """
    described = runs.describe(Path(run))
    _check(described, options)
    data = replace(
        described.experiment.data,
        path=path,
        split=options.split,
        batch_size=options.batch_size,
        crop="center",
        flip=False,
    )
    source, info = pipeline.open_source(data)
    for flag, value in (("--batch-size", options.batch_size), ("--num", options.num)):
        check_within(value, flag, 1, info.num_examples, f"the images of {path}")
    batches = _batches(described, data, source, options)
    out = Path(options.out or runs.folder(run) / "bits")
    check_folder(out, "--out")
    params = runs.with_weights(described).params
    measure = make_likelihood(described.model, options.flow_steps, options.probes)
    found = _measure(measure, params, batches, options)
    stage = described.model.first_stage
    side = data.image_size // stage.factor
    report = {
        "run": str(described.run),
        "checkpoint": described.step,
        "weights": "ema",
        "data": path,
        **{name: value for name, value in asdict(options).items() if name != "out"},
        "latents": (side, side, stage.channels),
        **{name: _mean(found[name]) for name in ("bound", "prior", "flow")},
        "ldm_jax": ldm_jax.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    out.mkdir(parents=True, exist_ok=True)
    _write_terms(out / "terms.csv", described.model.process, found)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    print("\n".join(_lines(report, path)))
    print(f"terms of the bound at each time: {out / 'terms.csv'}; report: {out / 'report.json'}")


def _check(described: runs.Trained, options: Options) -> None:
    """Raises InputError for numbers that cannot be."""
    for name in ("num", "flow_steps", "probes"):
        if getattr(options, name) < 1:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} is {getattr(options, name)}: expected at least 1")
    check_batch(options.batch_size, "--batch-size")
    if options.num % options.batch_size:
        raise InputError(
            f"--num is {options.num}: expected a multiple of --batch-size, {options.batch_size}"
        )
    if described.model.process.T < 2:
        raise InputError("diffusion.steps is 1: expected at least 2, of which the bound has a term")


def _write_terms(path: Path, process: Process, found: dict[str, np.ndarray]) -> None:
    """A row for each t = 1 ... T: its log SNR, and the means of the bound's terms."""
    t = np.arange(1, process.T + 1)
    columns = {"t": t, "log_snr": np.asarray(log_snr(process, t.astype(np.float32)))}
    columns |= {name: np.mean(found[name], axis=0) for name in TERMS}
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*(x.tolist() for x in columns.values()), strict=True))


def _batches(
    described: runs.Trained, data: Data, source: Any, options: Options
) -> Iterator[dict[str, np.ndarray]]:
    """Images, and the conditioning inputs that data have of them."""
    keys, tokenize = described.model.conditioner.keys if options.conditional else (), {}
    if not set(keys) <= {"label", *described.tokenizers}:
        raise InputError(
            f"run '{described.run}' has a condition that is neither labels nor captions: expected "
            "--no-conditional"
        )
    for entry, tokenizer in described.tokenizers.items():
        tokenize[entry] = partial(tokens.encode, tokenizer)
    return pipeline.batches(data, source, seed=options.seed, keys=keys, tokenize=tokenize)


def _measure(
    measure: Callable, params: Any, batches: Iterator, options: Options
) -> dict[str, np.ndarray]:
    """The output of `measure` for all images, each [num, ...]."""
    spread, rows = devices("jit"), []
    for start in range(0, options.num, options.batch_size):
        batch = next(batches)
        seeds = options.seed + start + np.arange(options.batch_size, dtype=np.uint32)
        image = batch.pop("image")
        rows.append(jax.device_get(measure(params, *spread.split((image, batch, seeds)))))
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _mean(x: np.ndarray) -> dict[str, float]:
    """Mean and standard error over images."""
    return {"mean": float(np.mean(x)), "error": float(np.std(x) / np.sqrt(len(x)))}


def _lines(report: dict, path: str) -> list[str]:
    """The printed report."""
    h, w, c = report["latents"]
    shown = {name: "{mean:.4f} +- {error:.4f}".format(**report[name]) for name in ("bound", "flow")}
    return [
        f"{report['num']} images of {path}; bits per dimension of their latents, {h}x{w}x{c} "
        "values of about unit variance, not of pixels: a density, whose bits may be below 0",
        f"variational bound: {shown['bound']} (of it the prior: {report['prior']['mean']:.4f})",
        f"probability flow:  {shown['flow']} ({report['flow_steps']} steps of Heun, "
        f"{report['probes']} probe{'s' * (report['probes'] > 1)})",
    ]
