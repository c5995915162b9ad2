"""Distances of samples to real images, with everything that they depend on."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import ldm_jax
from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.errors import InputError
from ldm_jax.evaluate.generate import Generation, draw_shards
from ldm_jax.evaluate.samples_report import flags, markdown
from ldm_jax.evaluate.sets import Images, Statistics, open_set, spread
from ldm_jax.experiments.train import check_batch
from ldm_jax.extractors.extract import make_extract
from ldm_jax.extractors.extractor import Extractor
from ldm_jax.extractors.names import ExtractorName, ResizeName, extractor
from ldm_jax.metrics.density_coverage import density_coverage
from ldm_jax.metrics.frechet import frechet_distance
from ldm_jax.metrics.inception_score import inception_score
from ldm_jax.metrics.memorisation import memorisation
from ldm_jax.metrics.mmd import cmmd, kid
from ldm_jax.metrics.precision_recall import precision_recall
from ldm_jax.metrics.statistics import Moments, Running, moments
from ldm_jax.metrics.statistics_file import write_statistics
from ldm_jax.settings import check_folder, check_within
from ldm_jax.weights.names.extractors import Weights, is_published, load_extractor

SUBSETS = 100  # that KID is a mean over
SHOWN, NEIGHBOURS = 12, 4  # samples in the image of copies, and neighbours of each
WANTED = {  # features in addition to the main ones
    "inception": ("spatial", "logits_unbiased"),
}


@dataclass(frozen=True)
class Measured:
    """What is measured, and with which network."""

    out: str = "evaluation"
    """folder to write to"""
    num: int | None = None
    """samples; default: all, and of a run 50000"""
    num_reference: int | None = None
    """real images, evenly spaced; default: all"""
    extractor: ExtractorName = "inception"
    """the network whose features are compared"""
    weights: str | None = None
    """a file with its weights; default: installed, or downloaded"""
    resize: ResizeName | None = None
    """of inception, whose FID it is: tensorflow (ADM's and torch-fidelity's), pytorch
    (pytorch-fid's) or clean (clean-fid's)"""
    batch_size: int = 32
    """images per batch of the network"""
    neighbours: int = 10_000
    """images of each set, at most, for metrics of nearest neighbours"""
    floor: bool = True
    """also the distance of a part of the reference, of as many images as samples, to the rest"""
    ladder: tuple[float, ...] = ()
    """also that distance with noise of these standard deviations, of 255, on the part"""
    copies: bool = False
    """also whether samples are copies of the reference, with an image; for training data"""
    save_statistics: str | None = None
    """an .npz to write the reference's statistics to, which can later replace it"""


@dataclass(frozen=True)
class Options:
    """The settings of `samples`."""

    measured: Measured = field(default_factory=Measured)
    generation: Generation = field(default_factory=Generation)


def samples(a: str, b: str, options: Options) -> None:
    """Compares samples A with real images B; writes OUT/report.json and OUT/report.md.

    Raises:
        InputError: what cannot be compared, before anything is computed or drawn.
    """
    asked = options.measured
    check_batch(asked.batch_size, "--batch-size")
    network = extractor(asked.extractor, asked.resize)
    out = Path(asked.out)
    check_folder(out, "--out")
    reference = open_set(b)
    is_run = runs.is_run(a)
    found = None if is_run else open_set(a)
    weights = load_extractor(network, asked.weights)
    check_statistics(reference, network, weights)
    if is_run:
        draw_shards(a, out / "generated", asked.num or 50_000, options.generation)
        found = open_set(str(out / "generated"))
    check_statistics(found, network, weights)
    num = count_of(asked.num, found, "--num")
    num_reference = count_of(asked.num_reference, reference, "--num-reference")
    names = (network.main, *WANTED.get(network.name, ()))
    extract = make_extract(network, weights.params, names, asked.batch_size)
    ours = features_of(found, num, extract, network.main, asked.batch_size)
    theirs = features_of(reference, num_reference, extract, network.main, asked.batch_size)
    metrics = measure(network, ours, theirs, asked.neighbours)
    context = {}
    if theirs.features is not None and num:
        if asked.floor:
            context["floor"] = _floor(theirs.features, num)
        if asked.ladder:
            context["ladder"] = _ladder(reference, network, extract, asked, theirs, num)
    elif asked.ladder:
        raise InputError(f"--ladder given with '{b}', which has no images: leave it out")
    if asked.copies:
        metrics |= _copies(found, reference, ours, theirs, out)
    if asked.save_statistics:
        facts = {
            "extractor": network.name,
            "sha256": weights.sha256,
            "resize": network.resize,
            "count": num_reference,
        }
        write_statistics(asked.save_statistics, theirs.moments, facts)
    sets = {
        "samples": _described(found, num),
        "reference": _described(reference, num_reference),
    }
    _write(out, sets | _facts(network, weights) | {"metrics": metrics, "context": context})


def _facts(network: Extractor, weights: Weights) -> dict[str, Any]:
    """What the numbers depend on beside the images, as the report has it."""
    return {
        "extractor": {
            "name": network.name,
            "title": network.title,
            "distance": network.distance,
            "weights": weights.path.name,
            "sha256": weights.sha256,
            "published": is_published(network, weights),
            "resize": network.resize,
        },
        "ldm_jax": ldm_jax.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }


def _write(out: Path, report: dict[str, Any]) -> None:
    """Writes report.json and report.md, and prints the latter."""
    report["flags"] = flags(report)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", "utf-8")
    text = markdown(report)
    (out / "report.md").write_text(text, "utf-8")
    print(text)
    print(f"report: {out / 'report.json'}, {out / 'report.md'}")


# The request


def count_of(asked: int | None, found: Images | Statistics, flag: str) -> int | None:
    """The number of images; None for statistics."""
    if isinstance(found, Statistics):
        if asked is not None:
            raise InputError(f"{flag} is {asked}: leave it out, '{found.name}' holds statistics")
        return found.facts.get("count")
    count = found.count if asked is None else asked
    check_within(count, flag, 2, found.count, f"the images of '{found.name}'")
    return count


def check_statistics(found: Images | Statistics, network: Extractor, weights: Weights) -> None:
    """Raises InputError for statistics of other features than the extractor's."""
    if isinstance(found, Images):
        return
    ours = {"extractor": network.name, "resize": network.resize, "sha256": weights.sha256}
    for name, value in ours.items():
        if found.facts.get(name, value) != value:
            raise InputError(
                f"'{found.name}' has statistics of {name} {found.facts[name]}: expected {value}, "
                "as for the samples"
            )
    shape = jax.eval_shape(
        lambda key, x: network.network(network.init(key), x),
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, network.size, network.size, 3), np.float32),
    )
    d, wanted = len(found.moments["pool"].mean), shape[network.main].shape[1]
    if d != wanted:
        raise InputError(
            f"'{found.name}' has statistics of {d} features: expected {wanted}, those of "
            f"{network.title}"
        )


def _described(found: Images | Statistics, num: int | None) -> dict[str, Any]:
    size = list(found.size) if isinstance(found, Images) else None
    return {"name": found.name, "num": num, "size": size, **found.facts}


# Results


class Features(NamedTuple):
    """Features of a set.

    features: the main ones, float32 [N, d]; None where only statistics are known
    logits:   [N, classes], of extractors with which the Inception Score is
    moments:  "pool", and of InceptionV3 "spatial"
    """

    features: np.ndarray | None
    logits: np.ndarray | None
    moments: dict[str, Moments]


def features_of(
    found: Images | Statistics, num: int | None, extract, main: str, size: int
) -> Features:
    """Features of `num` images of a set, in batches of `size`."""
    if isinstance(found, Statistics):
        return Features(None, None, found.moments)
    return gather(extract(found.batches(num, size), num), main)


def gather(parts, main: str) -> Features:
    """Features batch by batch -> inputs of the metrics; statistics are summed."""
    kept: dict[str, list[np.ndarray]] = {main: [], "logits_unbiased": []}
    totals: dict[str, Running] = {}
    for part in parts:
        for name, x in part.items():
            if name in kept:
                kept[name].append(x)
            if name != "logits_unbiased":
                totals.setdefault(name, Running()).add(x)
    logits = kept["logits_unbiased"]
    found = {"pool" if name == main else name: moments(t.result()) for name, t in totals.items()}
    return Features(np.concatenate(kept[main]), np.concatenate(logits) if logits else None, found)


def measure(network: Extractor, ours: Features, theirs: Features, most: int) -> dict[str, Any]:
    """The metrics that both sets allow, by the names that reports have."""
    found: dict[str, Any] = {
        network.distance: frechet_distance(ours.moments["pool"], theirs.moments["pool"])
    }
    if "spatial" in ours.moments and "spatial" in theirs.moments:
        found["sFID"] = frechet_distance(ours.moments["spatial"], theirs.moments["spatial"])
    if ours.logits is not None and len(ours.logits) >= 10:
        score = inception_score(ours.logits)
        found["Inception Score"] = {"mean": score.mean, "std": score.std}
    if ours.features is None or theirs.features is None:
        return found
    x, y = ours.features, theirs.features
    of = "" if network.distance == "FID" else f"{network.name} "
    size = min(1000, len(x) // 2, len(y) // 2)
    if size >= 2:
        distance = kid(x, y, SUBSETS, size)
        found["KID" if not of else f"{of}kernel distance"] = {
            "mean": distance.mean,
            "std": distance.std,
            "subset_size": size,
        }
    if network.name.startswith("clip"):
        found["CMMD"] = cmmd(x, y)
    x, y = (z[spread(len(z), min(len(z), most))] for z in (x, y))
    if min(len(x), len(y)) > 5:
        found |= {f"{of}{name}": v for name, v in precision_recall(x, y)._asdict().items()}
        found |= {f"{of}{name}": v for name, v in density_coverage(x, y)._asdict().items()}
    return found


def _parts(M: int, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the reference: as many as samples, or half, evenly spaced; and the rest."""
    part = np.asarray(spread(M, min(num, M // 2)))
    return part, np.setdiff1d(np.arange(M), part)


def _floor(features: np.ndarray, num: int) -> dict[str, Any]:
    """The distance of a part of the reference, of as many images as there are samples, to the rest:
    that of a perfect model."""
    part, rest = _parts(len(features), num)
    if len(part) < 2:
        return {}
    distance = frechet_distance(moments(features[part]), moments(features[rest]))
    return {"num": len(part), "rest": len(rest), "distance": distance}


def _ladder(
    reference: Images, network: Extractor, extract, asked: Measured, theirs: Features, num: int
) -> list[dict[str, Any]]:
    """The same with noise on the part; without any, it is the floor."""
    M = len(theirs.features)
    part, rest = _parts(M, num)
    if len(part) < 2:
        return []
    real, rungs = moments(theirs.features[rest]), []
    for level in asked.ladder:
        noisy = _noisy(_picked(reference, M, part, asked.batch_size), level)
        seen = gather(extract(noisy, len(part)), network.main)
        distance = frechet_distance(seen.moments["pool"], real)
        rungs.append({"noise": level, "num": len(part), "distance": distance})
    return rungs


def _noisy(batches: Iterator[np.ndarray], level: float) -> Iterator[np.ndarray]:
    """Images with normal noise of this standard deviation, rounded and clipped to 0 ... 255."""
    rng = np.random.default_rng(0)
    for images in batches:
        x = images + rng.normal(0.0, level, images.shape)
        yield np.rint(x).clip(0, 255).astype(np.uint8)


def _picked(found: Images, num: int, places: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Those of the `num` images of a set at ascending places, one after the other."""
    start = 0
    for images in found.batches(num, batch_size):
        here = places[(places >= start) & (places < start + len(images))] - start
        start += len(images)
        if len(here):
            yield images[here]


def _copies(found, reference, ours: Features, theirs: Features, out: Path) -> dict[str, Any]:
    """Which samples are nearest to images of the reference, with an image of them."""
    if ours.features is None or theirs.features is None:
        raise InputError("--copies needs images of both sets: one of them is statistics")
    audit = memorisation(ours.features, theirs.features, min(NEIGHBOURS, len(theirs.features)))
    worst = np.argsort(audit.ratio, kind="stable")[:SHOWN]
    if found.size == reference.size:
        own = _pick(found, len(ours.features), worst)
        near = audit.index[worst]
        others = _pick(reference, len(theirs.features), near.ravel())
        rows = np.concatenate([own[:, None], others.reshape(*near.shape, *own.shape[1:])], axis=1)
        grid = image_files.grid(rows.reshape(-1, *own.shape[1:]), rows.shape[1])
        image_files.save(out / "copies.png", grid)
    return {
        "authenticity": audit.authenticity,
        "nearest": {
            "median ratio": float(np.median(audit.ratio)),
            "smallest ratios": [float(x) for x in audit.ratio[worst]],
        },
    }


def _pick(found: Images, num: int, places: np.ndarray) -> np.ndarray:
    """Some of the `num` images of a set, uint8 [len(places), H, W, 3]."""
    each, where = np.unique(places, return_inverse=True)
    return np.concatenate(list(_picked(found, num, each, 64)))[where]
