"""Reconstructions and latents of a first stage, measured."""

import json
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

import ldm_jax
from ldm_jax import runs
from ldm_jax.autoencoders.quantizer import perplexity
from ldm_jax.data import image_files, pipeline, readable
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError
from ldm_jax.evaluate.reconstruct import comparison, measurement
from ldm_jax.experiments.train import check_batch
from ldm_jax.losses.lpips import Network, lpips
from ldm_jax.metrics.reconstruction import SMALLEST, Means
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling import tiled
from ldm_jax.settings import check_folder, check_within
from ldm_jax.types import Array, FirstStage, Params
from ldm_jax.weights.names.lpips import load_lpips

MOST = 1000  # images by default
SHOWN, AMPLIFIED = 8, 4  # images in the image; what differences are multiplied by in it


@dataclass(frozen=True)
class Options:
    """The settings of `first-stage`."""

    out: str | None = None
    """folder to write to; RUN/reconstructions where not given"""
    num: int | None = None
    """images, evenly spaced in the data; default: all, at most 1000"""
    batch_size: int = 16
    """images encoded and decoded at once"""
    image_size: int | None = None
    """pixels a side, not only multiples of the factor; as in training where not given"""
    split: str = "test"
    """of data sets that have splits"""
    upscale: bool = False
    """enlarge images smaller than image_size instead of refusing them"""
    max_bad_images: int = 10
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
    data, source = _open(trained.experiment.data, path, options)
    num = _check(options, len(source))
    only = getattr(trained.experiment.model, "image_size", data.image_size)
    if data.image_size != only:
        raise InputError(f"--image-size is {data.image_size}: expected {only}, all that RUN knows")
    out = Path(options.out or runs.folder(run) / "reconstructions")
    check_folder(out, "--out")
    plain = trained.model
    stage = _variant(trained, options)
    size = data.image_size
    perceptual = _perceptual(options)
    measure = jax.jit(measurement(stage, perceptual and perceptual.distance))
    compare = jax.jit(comparison(tiled.padded(plain), stage)) if options.compare else None
    params = {"first_stage": runs.with_weights(trained).params}
    if perceptual:
        params["perceptual"] = devices("jit").replicate(perceptual.params)
    if options.tile:
        print(tiled.describe(plain, size, size, options.tile, options.overlap))
    try:
        found = _gather(measure, compare, params, pipeline.once(data, source, num), options, num)
    except InputError as error:  # too many images that cannot be read
        raise _in_our_words(error) from error
    overlap = options.overlap
    if options.tile and overlap is None:
        overlap = tiled.default_overlap(options.tile)
    asked = {k: v for k, v in asdict(options).items() if k != "out"}
    report = {
        "run": str(trained.run),
        "checkpoint": trained.step,
        "weights": "ema",
        "data": path,
        **asked,
        "num": num,
        "image_size": size,
        "overlap": overlap,
        "compute": options.compute or getattr(trained.experiment.model, "compute", "float32"),
        **_summary(found, _has_scale(params["first_stage"]), options.lpips),
        "ldm_jax": ldm_jax.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    out.mkdir(parents=True, exist_ok=True)
    image_files.save(out / "reconstructions.png", _side_by_side(found.images, found.others))
    (out / "report.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", "utf-8")
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
    if data.image_size is not None and data.image_size < 1:
        raise InputError(f"--image-size is {data.image_size}: expected at least 1")
    try:
        source, _ = pipeline.open_source(data)
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
    num = min(available, MOST) if options.num is None else options.num
    check_within(num, "--num", 1, available, "the images there are")
    if not 0 <= options.seed < 2**32 - num:
        raise InputError(f"--seed is {options.seed}: expected 0 to {2**32 - num - 1}")
    check_batch(options.batch_size, "--batch-size")
    tiled.check(options.tile, options.overlap)
    return num


def _variant(trained: runs.TrainedFirstStage, options: Options) -> FirstStage:
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


class _Perceptual(NamedTuple):
    distance: Callable[[Params, Array, Array], Array]
    params: Params


def _perceptual(options: Options) -> _Perceptual | None:
    """LPIPS, where requested and its weights are available; prints why it is off."""
    if not options.lpips:
        print("LPIPS: off; --lpips vgg turns it on")
        return None
    try:
        params = load_lpips(options.lpips, options.lpips_weights)
    except InputError as error:
        if options.lpips_weights:
            raise
        print(f"LPIPS: off; {error}")
        return None
    return _Perceptual(lpips(options.lpips).distance, params)


# Results


class Found(NamedTuple):
    """Results of one pass over the images."""

    means: dict[str, np.ndarray]
    compared: dict[str, float]  # {} where nothing is compared
    shape: tuple[int, int, int]  # of latents, h, w, c
    counts: np.ndarray | None  # [n], how often each code is used
    images: np.ndarray  # the first, uint8 [S, H, W, 3]
    others: np.ndarray  # their reconstructions


def _gather(
    measure: Callable,
    compare: Callable | None,
    params: Params,
    batches: Iterator[dict[str, np.ndarray]],
    options: Options,
    num: int,
) -> Found:
    """One pass over `num` images; batches are padded by repeating their last image."""
    means, differences, largest = Means(), Means(), {}
    codebook = params["first_stage"].get("quantizer")
    counts = np.zeros(len(codebook["embedding"]), np.int64) if codebook else None
    shown, size = [], options.batch_size
    progress = tqdm(total=num, desc="first stage", unit="image", disable=not sys.stderr.isatty())
    with progress:
        for batch in batches:
            n, start = len(batch["image"]), means.count
            rows = np.minimum(np.arange(size), n - 1)
            seeds = np.uint32(options.seed + start + rows)
            given = devices("jit").split((batch["image"][rows], seeds))
            found = measure(params, *given)
            latents = np.asarray(found.latents[:n], np.float64)
            means.add(
                {
                    **{name: row[:n] for name, row in found.rows.items()},
                    "latent": latents.mean(axis=(1, 2)),
                    "latent_square": np.square(latents).mean(axis=(1, 2)),
                }
            )
            if np.isnan(means.result()["psnr"]):
                raise FloatingPointError(
                    f"reconstructions of images {start} to {start + n - 1} are not numbers: the "
                    "first stage has diverged, or --compute cannot hold its values"
                )
            if codebook:
                counts += np.bincount(np.ravel(found.codes[:n]), minlength=len(counts))
            if start < SHOWN:
                pair = batch["image"], found.image[:n]
                shown.append([image_files.to_uint8(image)[: SHOWN - start] for image in pair])
            if compare:
                apart = {name: np.asarray(row)[:n] for name, row in compare(params, *given).items()}
                differences.add(apart)
                for name in ("max", "decoder_max"):
                    largest[name] = max(largest.get(name, 0.0), float(apart[name].max()))
            progress.update(n)
    images, others = (np.concatenate(part) for part in zip(*shown, strict=True))
    compared = {**{k: float(v) for k, v in differences.result().items()}, **largest}
    return Found(means.result(), compared, found.latents.shape[1:], counts, images, others)


def _has_scale(params: Params) -> bool:
    """Whether the scale of the latents was measured, or came with the weights."""
    return bool(np.any(params["shift"] != 0.0) or np.any(params["scale"] != 1.0))


def _summary(found: Found, scaled: bool, network: str | None) -> dict[str, Any]:
    """The values of the report; None where missing or not finite."""
    means, channels = found.means, found.means["latent"]
    squares = means["latent_square"]
    nats = float(means["kl"]) / math.prod(found.shape)
    compared, counts = found.compared, found.counts
    return {
        "psnr": _finite(means["psnr"]),
        "ssim": _finite(means.get("ssim")),
        "lpips": {network: _finite(means["lpips"])} if "lpips" in means else None,
        "latents": {
            "shape": list(found.shape),
            "scaled": scaled,
            "mean": float(channels.mean()),
            "std": float(np.sqrt(squares.mean() - channels.mean() ** 2)),
            "channel_mean": channels.tolist(),
            "channel_std": np.sqrt(squares - channels**2).tolist(),
        },
        "kl": {"nats_per_dimension": nats, "bits_per_dimension": nats / math.log(2.0)}
        if math.isfinite(nats)
        else None,
        "codebook": None
        if counts is None
        else {
            "size": len(counts),
            "used": int(np.sum(counts > 0)),
            "perplexity": float(perplexity(counts)),
        },
        "compared": {
            "psnr": _finite(compared["psnr"]),
            "max": compared["max"],
            "decoder_psnr": _finite(compared["decoder_psnr"]),
            "decoder_max": compared["decoder_max"],
            "latent_rms": math.sqrt(compared["latent_square"]),
        }
        if compared
        else None,
    }


def _finite(value: np.ndarray | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _lines(report: dict[str, Any]) -> Iterator[str]:
    """The printed report."""
    latents, size = report["latents"], report["image_size"]
    yield f"images: {report['num']} of {size}x{size} pixels from {report['data']}"
    yield f"PSNR: {_number(report['psnr'], '.2f')} dB"
    if size < SMALLEST:
        yield f"SSIM: none, its window needs {SMALLEST} pixels"
    else:
        yield f"SSIM: {_number(report['ssim'], '.4f')}"
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
            f"compared with the whole, as in training: PSNR {_number(apart['psnr'], '.2f')} dB, "
            f"at most {apart['max']:.3g} apart in a range of 2"
        )
        yield (
            f"  the decoder alone: PSNR {_number(apart['decoder_psnr'], '.2f')} dB, at most "
            f"{apart['decoder_max']:.3g}; latents: {apart['latent_rms']:.3g} rms"
        )


def _number(value: float | None, form: str) -> str:
    return "infinite" if value is None else format(value, form)


def _row(values: Sequence[float]) -> str:
    shown = " ".join(f"{value:.3f}" for value in values[:16])
    return shown if len(values) <= 16 else f"{shown} ... (all in report.json)"


def _side_by_side(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Image, reconstruction and amplified difference from grey: uint8 [N, H, W, 3] twice."""
    apart = 128 + AMPLIFIED * (others.astype(np.int32) - images)
    thirds = np.concatenate([images, others, apart.clip(0, 255).astype(np.uint8)], axis=2)
    scale = max(1, 128 // images.shape[1])  # so that single pixels are visible
    return image_files.grid(thirds.repeat(scale, axis=1).repeat(scale, axis=2), min(2, len(images)))
