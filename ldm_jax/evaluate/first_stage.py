"""Reconstructions and latents of a first stage, measured."""

import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from ldm_jax import runs
from ldm_jax.autoencoders.quantizer import perplexity
from ldm_jax.data import image_files, pipeline, readable
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError
from ldm_jax.evaluate import results
from ldm_jax.evaluate.reconstruct import measurement
from ldm_jax.evaluate.results import known, number
from ldm_jax.experiments.train import check_batch
from ldm_jax.losses.lpips import Network, lpips
from ldm_jax.metrics.reconstruction import SMALLEST
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling import tiled
from ldm_jax.settings import AtLeast1, NotNegativeInt
from ldm_jax.types import FirstStage, Params
from ldm_jax.weights.names.lpips import load_lpips

MOST = 1000  # images by default
SHOWN, AMPLIFIED = 8, 4  # images in the image; what differences are multiplied by in it


@dataclass(frozen=True)
class Options:
    """The settings of `first-stage`."""

    out: str | None = None
    """folder to write to; RUN/reconstructions where not given"""
    num: AtLeast1 | None = None
    """images, evenly spaced in the data; default: all, at most 1000"""
    batch_size: int = 16
    """images encoded and decoded at once"""
    image_size: AtLeast1 | None = None
    """pixels a side, not only multiples of the factor; as in training where not given"""
    split: str = "test"
    """of data sets that have splits"""
    upscale: bool = False
    """enlarge images smaller than image_size instead of refusing them"""
    max_bad_images: NotNegativeInt = 10
    """unreadable images to skip before stopping"""
    seed: int = 0
    """of the draws from the posterior: image i has seed S + i"""
    tile: int | None = None
    """use tiles of N latents a side, which needs less memory"""
    overlap: int | None = None
    """latents that neighbouring tiles share at least; a quarter of the tile where not given"""
    compute: Literal["float32", "bfloat16"] | None = None
    """what the networks compute in; as in training where not given"""
    compare: bool = False
    """also compute without tiles and as in training, and report the difference"""
    lpips: Network | None = None
    """the network of the perceptual distance LPIPS; default: no LPIPS"""
    lpips_weights: str | None = None
    """a file or folder with its weights; default: installed, or downloaded"""


def first_stage(run: str, path: str, options: Options) -> None:
    """Encodes and decodes images of `path`; prints and writes the report.

    Raises:
        InputError: what cannot be measured, before anything is computed or written.
        FloatingPointError: reconstructions are not finite.
    """
    trained = runs.find_first_stage(Path(run))
    model, plain = trained.experiment.model, trained.model
    data, source = _open(trained.experiment.data, path, options)
    num, size = _check(options, len(source)), data.image_size
    only = getattr(model, "image_size", size)
    if size != only:
        raise InputError(f"--image-size is {size}: expected {only}, all that RUN knows")
    out = results.folder_of(options.out, run, "reconstructions")
    results.check_own(out, "report.json", "psnr", "reconstructions.png")
    stage = _variant(trained, options)
    params = {}
    distance, weights = _perceptual(options) or (None, None)
    if distance:
        params["perceptual"] = devices("jit").replicate(weights)
    params["first_stage"] = runs.with_weights(trained).params
    measure = measurement(stage, distance, tiled.padded(plain) if options.compare else None)
    overlap = options.overlap
    if options.tile:
        print(tiled.describe(plain, size, size, options.tile, overlap))
        overlap = tiled.default_overlap(options.tile) if overlap is None else overlap
    try:
        batches = pipeline.once(data, source, num)
        found = _gather(jax.jit(measure), params, batches, options, num)
    except InputError as error:  # too many images that cannot be read
        raise _in_our_words(error) from error
    report = {
        "run": str(trained.run),
        "checkpoint": trained.step,
        "weights": "ema",
        "data": path,
        **{name: value for name, value in asdict(options).items() if name != "out"},
        "num": num,
        "image_size": size,
        "overlap": overlap,
        "compute": options.compute or getattr(model, "compute", "float32"),
        **_summary(found, _has_scale(params["first_stage"]), options.lpips),
        **results.software(),
    }
    results.write_json(out / "report.json", report)
    image_files.save(out / "reconstructions.png", _side_by_side(found.images, found.others))
    print("\n".join(_lines(report)))
    print(f"images, reconstructions, {AMPLIFIED} x difference: {out / 'reconstructions.png'}")
    print(f"report: {out / 'report.json'}")


# The request


def _open(own: Data, path: str, options: Options) -> tuple[Data, Any]:
    """The data to measure on, and its records; prepared otherwise as for training."""
    data = replace(
        own,
        path=path,
        image_size=own.image_size if options.image_size is None else options.image_size,
        batch_size=options.batch_size,
        split=options.split,
        upscale=options.upscale,
        max_bad_images=options.max_bad_images,
    )
    try:
        source, _ = results.open_images(data)
        readable.check_readable(data, source)
    except InputError as error:
        raise _in_our_words(error) from error
    return data, source


def _in_our_words(error: InputError) -> InputError:
    """The error with the options of this command instead of the config's fields."""
    message = re.sub(r"(--)?\bdata\.path\b", "DATA", str(error))
    names = "|".join(field.name.replace("_", "[-_]") for field in fields(Data))
    return InputError(re.sub(rf"\bdata\.({names})\b", r"\1", message))


def _check(options: Options, available: int) -> int:
    """The number of images; raises InputError for settings that are out of range."""
    num = options.num or min(available, MOST)
    results.count_of(num, available, "DATA")
    if not 0 <= options.seed < 2**32 - num:
        raise InputError(f"--seed is {options.seed}: expected 0 to {2**32 - num - 1}")
    check_batch(options.batch_size, "--batch-size")
    tiled.check(options.tile, options.overlap)
    return num


def _variant(trained: runs.Trained, options: Options) -> FirstStage:
    """The first stage by tiles or in another precision, as requested."""
    model = trained.experiment.model
    if options.compute:
        if not hasattr(model, "compute"):
            raise InputError(
                f"--compute is {options.compute}: {type(model).__name__} has no other precision "
                "than its own, leave it out"
            )
        model = replace(model, compute=options.compute)
    stage = model.build()
    return tiled.padded(
        tiled.tiled(stage, options.tile, options.overlap) if options.tile else stage
    )


def _perceptual(options: Options) -> tuple[Callable, Params] | None:
    """LPIPS and its weights, where requested and available; prints why it is off."""
    if not options.lpips:
        print("LPIPS: off; --lpips vgg turns it on")
        return None
    try:
        return lpips(options.lpips).distance, load_lpips(options.lpips, options.lpips_weights)
    except InputError as error:
        if options.lpips_weights:
            raise
        print(f"LPIPS: off; {error}")
        return None


# Results


class Found(NamedTuple):
    """Results of one pass over the images."""

    rows: dict[str, np.ndarray]  # of each image, [N, ...]
    shape: tuple[int, int, int]  # of latents, h, w, c
    counts: np.ndarray | None  # [n], how often each code is used
    images: np.ndarray  # the first, uint8 [S, H, W, 3]
    others: np.ndarray  # their reconstructions


def _gather(
    measure: Callable, params: Params, batches: Iterator[dict], options: Options, num: int
) -> Found:
    """One pass over `num` images; batches are padded by repeating their last image."""
    codebook = params["first_stage"].get("quantizer")
    counts = np.zeros(len(codebook["embedding"]), np.int64) if codebook else None
    each, shown, start = [], [], 0
    with tqdm(total=num, desc="first stage", unit="image", disable=not sys.stderr.isatty()) as bar:
        for batch in batches:
            n = len(batch["image"])
            rows = np.minimum(np.arange(options.batch_size), n - 1)
            given = batch["image"][rows], np.uint32(options.seed + start + rows)
            found = measure(params, *devices("jit").split(given))
            latents = np.asarray(found.latents[:n], np.float64)
            each.append({name: np.float64(row[:n]) for name, row in found.rows.items()})
            each[-1]["latent"] = latents.mean(axis=(1, 2))
            each[-1]["latent_square"] = np.square(latents).mean(axis=(1, 2))
            if np.isnan(each[-1]["psnr"]).any():
                raise FloatingPointError(
                    f"reconstructions of images {start} to {start + n - 1} are not numbers: the "
                    "first stage has diverged, or --compute cannot hold its values"
                )
            if codebook:
                counts += np.bincount(np.ravel(found.codes[:n]), minlength=len(counts))
            if start < SHOWN:
                pair = batch["image"], found.image[:n]
                shown.append([image_files.to_uint8(image)[: SHOWN - start] for image in pair])
            start += n
            bar.update(n)
    images, others = (np.concatenate(part) for part in zip(*shown, strict=True))
    rows = {name: np.concatenate([one[name] for one in each]) for name in each[0]}
    return Found(rows, found.latents.shape[1:], counts, images, others)


def _has_scale(params: Params) -> bool:
    """Whether the scale of the latents was measured, or came with the weights."""
    return bool(np.any(params["shift"] != 0.0) or np.any(params["scale"] != 1.0))


def _summary(found: Found, scaled: bool, network: str | None) -> dict[str, Any]:
    """The values of the report; None where missing or infinite."""
    means = {name: np.mean(x, axis=0) for name, x in found.rows.items()}
    channels, squares = means["latent"], means["latent_square"]
    nats = known(means["kl"] / math.prod(found.shape))
    counts, compared = found.counts, None
    if "plain_psnr" in means:
        compared = {
            "psnr": known(means["plain_psnr"]),
            "max": float(np.max(found.rows["plain_max"])),
            "decoder_psnr": known(means["plain_decoder_psnr"]),
            "decoder_max": float(np.max(found.rows["plain_decoder_max"])),
            "latent_rms": math.sqrt(means["plain_latent_square"]),
        }
    return {
        "psnr": known(means["psnr"]),
        "ssim": known(means.get("ssim")),
        "lpips": {network: float(means["lpips"])} if "lpips" in means else None,
        "latents": {
            "shape": list(found.shape),
            "scaled": scaled,
            "mean": float(channels.mean()),
            "std": float(np.sqrt(max(squares.mean() - channels.mean() ** 2, 0.0))),
            "channel_mean": channels.tolist(),
            "channel_std": np.sqrt(np.maximum(squares - channels**2, 0.0)).tolist(),
        },
        "kl": None
        if nats is None
        else {"nats_per_dimension": nats, "bits_per_dimension": nats / math.log(2.0)},
        "codebook": None
        if counts is None
        else {
            "size": len(counts),
            "used": int(np.sum(counts > 0)),
            "perplexity": float(perplexity(counts)),
        },
        "compared": compared,
    }


def _lines(report: dict[str, Any]) -> Iterator[str]:
    """The printed report."""
    latents, size = report["latents"], report["image_size"]
    yield f"images: {report['num']} of {size}x{size} pixels from {report['data']}"
    yield f"PSNR: {number(report['psnr'], '.2f')} dB"
    if size < SMALLEST:
        yield f"SSIM: none, its window needs {SMALLEST} pixels"
    else:
        yield f"SSIM: {number(report['ssim'], '.4f')}"
    for network, distance in (report["lpips"] or {}).items():
        yield f"LPIPS ({network}): {distance:.4f}"
    what = "scaled" if latents["scaled"] else "as the encoder gives them"
    yield (
        f"latents {'x'.join(map(str, latents['shape']))}, {what}: "
        f"mean {latents['mean']:.3f}, std {latents['std']:.3f}"
    )
    yield f"  mean of each channel: {_row(latents['channel_mean'])}"
    yield f"  std of each channel:  {_row(latents['channel_std'])}"
    if kl := report["kl"]:
        nats, bits = kl["nats_per_dimension"], kl["bits_per_dimension"]
        yield f"KL: {nats:.3f} nats, {bits:.3f} bits a dimension"
    if codes := report["codebook"]:
        yield (
            f"codes: {codes['used']} of {codes['size']} used "
            f"({codes['used'] / codes['size']:.1%}), perplexity {codes['perplexity']:.1f}"
        )
    if apart := report["compared"]:
        yield (
            f"compared with the whole, as in training: PSNR {number(apart['psnr'], '.2f')} dB, "
            f"at most {apart['max']:.3g} apart in a range of 2"
        )
        yield (
            f"  the decoder alone: PSNR {number(apart['decoder_psnr'], '.2f')} dB, at most "
            f"{apart['decoder_max']:.3g}; latents: {apart['latent_rms']:.3g} rms"
        )


def _row(values: Sequence[float]) -> str:
    shown = " ".join(f"{value:.3f}" for value in values[:16])
    return shown if len(values) <= 16 else f"{shown} ... (all in report.json)"


def _side_by_side(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Image, reconstruction and amplified difference from grey: uint8 [N, H, W, 3] twice."""
    apart = 128 + AMPLIFIED * (others.astype(np.int32) - images)
    thirds = np.concatenate([images, others, apart.clip(0, 255).astype(np.uint8)], axis=2)
    scale = max(1, 128 // images.shape[1])  # so that single pixels are visible
    return image_files.grid(thirds.repeat(scale, axis=1).repeat(scale, axis=2), min(2, len(images)))
