"""How probable the latents of images are under a diffusion model, in bits per dimension."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import runs
from ldm_jax.data import pipeline
from ldm_jax.data.settings import Data
from ldm_jax.diffusion import probability_flow as flow
from ldm_jax.diffusion.denoiser import denoiser
from ldm_jax.diffusion.losses.vlb import variational_bound
from ldm_jax.diffusion.process import log_snr
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.evaluate import results
from ldm_jax.experiments.train import check_batch
from ldm_jax.runtime.files import whole
from ldm_jax.runtime.sharding import devices
from ldm_jax.settings import AtLeast1, Seed
from ldm_jax.types import Array, Batch, DiffusionModel, Params, Process

TERMS = ("bits", "x0_error", "eps_error")  # of each time


@dataclass(frozen=True)
class Options:
    """The settings of `bits`."""

    out: str | None = None
    """folder to write to; RUN/bits where not given"""
    num: AtLeast1 = 64
    """images"""
    batch_size: AtLeast1 = 16
    """images measured at once"""
    split: str = "test"
    """of data sets that have splits"""
    seed: Seed = 0
    """of all noise, and of which images"""
    conditional: bool = True
    """condition on what the data have of each image; False: unconditional"""
    flow_steps: AtLeast1 = 100
    """of the probability flow, by Heun's method"""
    probes: AtLeast1 = 1
    """random vectors per image of the trace estimator (Hutchinson 1989)"""


def bits(run: str, path: str, options: Options) -> None:
    """Measures latents of the images of `path`; prints and writes the report.

    Raises:
        InputError: what cannot be measured, before anything is computed or written.
    """
    described = runs.describe(Path(run))
    batches = _batches(described, path, options)
    out = results.folder_of(options.out, run, "bits")
    results.check_own(out, "report.json", "bound", "terms.csv")
    params = runs.with_weights(described).params
    measure = make_likelihood(described.model, options.flow_steps, options.probes)
    found = _measure(measure, params, batches, options)
    stage = described.model.first_stage
    side = described.experiment.data.image_size // stage.factor
    report = {
        "run": str(described.run),
        "checkpoint": described.step,
        "weights": "ema",
        "data": path,
        **{name: value for name, value in asdict(options).items() if name != "out"},
        "latents": (side, side, stage.channels),
        **{name: _mean(found[name]) for name in ("bound", "prior", "flow")},
        **results.software(),
    }
    results.write_json(out / "report.json", report)
    _write_terms(out / "terms.csv", described.model.process, found)
    print("\n".join(_lines(report, path)))
    print(f"terms of the bound at each time: {out / 'terms.csv'}; report: {out / 'report.json'}")


def _write_terms(path: Path, process: Process, found: dict[str, np.ndarray]) -> None:
    """A row for each t = 1 ... T: its log SNR, and the means of the bound's terms."""
    t = np.arange(1, process.T + 1)
    columns = {"t": t, "log_snr": np.asarray(log_snr(process, t.astype(np.float32)))}
    columns |= {name: np.mean(found[name], axis=0) for name in TERMS}
    with whole(path) as new, new.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*(x.tolist() for x in columns.values()), strict=True))


def _batches(described: runs.Trained, path: str, options: Options) -> Iterator[tuple]:
    """Images, and the conditioning inputs that data have of them, made as in training."""
    size, experiment = options.batch_size, described.experiment
    check_batch(size, "--batch-size")
    if options.num % size:
        raise InputError(f"--num is {options.num}: expected a multiple of --batch-size, {size}")
    if described.model.process.T < 2:
        raise InputError("diffusion.steps is 1: expected at least 2, of which the bound has a term")
    data = replace(experiment.data, path=path, split=options.split, batch_size=size, repeats=False)
    data = replace(data, crop="center", flip=False)
    source, info = results.open_images(data)
    results.count_of(options.num, info.num_examples, path)
    keys = described.model.conditioner.keys if options.conditional else ()
    _check_meanings(described, data, info, keys)
    tokenize = {name: partial(tokens.encode, one) for name, one in described.tokenizers.items()}
    derive, factor = {}, experiment.first_stage.model.factor
    for i, condition in enumerate(experiment.conditions if keys else ()):
        condition.fitted(info, f"conditions.{i}.")
        derive |= condition.derive(factor)
    batches = pipeline.batches(
        data, source, seed=options.seed, keys=keys, tokenize=tokenize, derive=derive
    )
    return ((batch["image"], {key: batch[key] for key in keys}) for batch in batches)


def _check_meanings(
    described: runs.Trained, data: Data, info: pipeline.DataInfo, keys: Sequence[str]
) -> None:
    """Raises InputError where a number in these data means something else than in training."""
    trained, remedy = described.experiment.data, "or --no-conditional"
    names = {
        "label": (described.class_names, info.class_names),
        "boxes": (runs.object_names(described.run), info.object_names),
    }
    for key, (ours, theirs) in names.items():
        if key in keys and ours and ours != theirs:
            raise InputError(
                f"'{data.path}' has the classes {', '.join(theirs) or 'none'}: expected "
                f"{', '.join(ours)}, as in training, {remedy}"
            )
    if "neighbours" in keys and (data.path, data.split) != (trained.path, trained.split):
        raise InputError(
            f"'{data.path}' {data.split} is not '{trained.path}' {trained.split}, whose neighbours "
            f"the run's embeddings say: expected it, {remedy}"
        )


def _measure(
    measure: Callable, params: Params, batches: Iterator[tuple], options: Options
) -> dict[str, np.ndarray]:
    """The output of `measure` for all images, each [num, ...]."""
    spread, rows = devices("jit"), []
    for start in range(0, options.num, options.batch_size):
        seeds = options.seed + start + np.arange(options.batch_size, dtype=np.uint32)
        given = spread.split((*next(batches), seeds))
        rows.append(jax.device_get(measure(params, *given)))
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


def make_likelihood(model: DiffusionModel, flow_steps: int, probes: int = 1) -> Callable:
    """A compiled function (params, images [B, H, W, 3], inputs, seeds [B]) -> arrays by name.

    Of scaled latents drawn from each image's posterior, in bits per dimension: "bound"
    [B], the variational bound, with its "prior" [B] and its terms "bits" [B, T], and the mean
    squared errors "x0_error" and "eps_error" [B, T] at t = 1 ... T; "flow" [B], by the
    probability flow.

    Args:
        flow_steps: of the probability flow from time 1 to T, at two passes each (and as many
            derivatives for each of the probes).

    Args of the function:
        inputs: of the conditioner, each [B, ...]; empty: unconditional.
    """
    process = model.process

    def likelihood(params: Params, images: Array, inputs: Batch, seeds: Array) -> dict[str, Array]:
        keys = jax.vmap(jax.random.key)(seeds)
        latent_keys, noise_keys, probe_keys = jnp.moveaxis(
            jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0
        )
        x0 = model.first_stage.encode(params["first_stage"], images, latent_keys)
        cond = model.condition(params, inputs or model.conditioner.null(*x0.shape[:3]))
        cond = model.precompute(params, cond)

        def network(z, timestep):
            return model.denoise(params, z, timestep, cond)

        denoise = denoiser(network, process, model.prediction)
        bound = variational_bound(denoise, process, x0, noise_keys)
        times = flow.flow_times(process, flow_steps, first=1.0)
        log_p = flow.log_likelihood(denoise, process, times, x0, probe_keys, probes)
        return {
            "bound": bound.total,
            "prior": bound.prior,
            "bits": bound.terms,
            "x0_error": bound.x0_error,
            "eps_error": bound.eps_error,
            "flow": flow.bits_per_dim(log_p, x0),
        }

    return jax.jit(likelihood)
