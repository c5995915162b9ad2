"""Distances of samples to real images, with everything that they depend on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.data.readable import spread
from ldm_jax.errors import InputError
from ldm_jax.evaluate import features, results
from ldm_jax.evaluate.features import Features, Network, features_of
from ldm_jax.evaluate.generate import Generation, draw_shards
from ldm_jax.evaluate.samples_report import flags, markdown
from ldm_jax.evaluate.sets import Images, Statistics, open_set
from ldm_jax.metrics.density_coverage import density_coverage
from ldm_jax.metrics.frechet import frechet_distance
from ldm_jax.metrics.inception_score import inception_score
from ldm_jax.metrics.memorisation import memorisation
from ldm_jax.metrics.mmd import cmmd, kid
from ldm_jax.metrics.precision_recall import precision_recall
from ldm_jax.metrics.statistics import moments
from ldm_jax.metrics.statistics_file import write_statistics
from ldm_jax.runtime.files import write_whole
from ldm_jax.settings import AtLeast1, AtLeast2, Range, check_folder
from ldm_jax.weights.names.extractors import is_published

SUBSETS = 100  # that KID is a mean over
SHOWN, NEIGHBOURS = 12, 4  # samples in the image of copies, and neighbours of each
Levels = Annotated[
    tuple[float, ...], Range("numbers of 0 to 255", lambda x: all(0 <= one <= 255 for one in x))
]
WANTED = {"inception": ("spatial", "logits_unbiased")}  # features beside the main ones


@dataclass(frozen=True)
class Measured(features.Options):
    """What is measured, and with which network."""

    out: str = "evaluation"
    """folder to write to"""
    num: AtLeast2 | None = None
    """samples; default: all, and of a run 50000"""
    num_reference: AtLeast2 | None = None
    """real images, evenly spaced; default: all"""
    neighbours: AtLeast1 = 10_000
    """images of each set, at most, for metrics of nearest neighbours"""
    floor: bool = True
    """also the distance of a part of the reference, of as many images as samples, to the rest"""
    ladder: Levels = ()
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
    asked, is_run = options.measured, runs.is_run(a)
    out, size = Path(asked.out), asked.batch_size
    check_folder(out, "--out")
    results.check_own(out, "report.json", "reference", "report.md", "copies.png")
    if asked.save_statistics:
        check_folder(Path(asked.save_statistics).parent, "--save-statistics in")
        if Path(asked.save_statistics).exists():
            raise InputError(
                f"--save-statistics '{asked.save_statistics}' exists: expected the name of a new "
                ".npz"
            )
    sets = [open_set(b)] if is_run else [open_set(b), open_set(a)]
    _check(asked, *sets)
    network = features.load(asked, *sets)
    if is_run:
        draw_shards(a, out / "generated", asked.num or 50_000, options.generation)
        sets.append(open_set(str(out / "generated")))
    reference, found = sets
    num = features.number(asked.num, found, "--num")
    num_reference = features.number(asked.num_reference, reference, "--num-reference")
    extract = network.start(*WANTED.get(network.extractor.name, ()))
    ours = features_of(found, num, extract, size)
    theirs = features_of(reference, num_reference, extract, size)
    metrics, context = measure(network, ours, theirs, asked.neighbours), {}
    if theirs.features is not None and num:
        if asked.floor:
            context["floor"] = _floor(theirs.features, num)
        if asked.ladder:
            context["ladder"] = _ladder(reference, extract, asked, theirs.features, num)
    near, nearest = _copies(found, reference, ours, theirs) if asked.copies else ({}, None)
    report = {"samples": _described(found, num), "reference": _described(reference, num_reference)}
    _write(out, report | _facts(network) | {"metrics": metrics | near, "context": context})
    if nearest is not None:
        image_files.save(out / "copies.png", nearest)
    if asked.save_statistics:
        facts = network.facts() | {"count": num_reference}
        write_statistics(asked.save_statistics, theirs.moments, facts)


def _check(asked: Measured, reference: Images | Statistics, *samples: Images | Statistics) -> None:
    """Raises InputError for numbers of images that there are not, and what needs images."""
    features.number(asked.num_reference, reference, "--num-reference")
    for found in samples:
        features.number(asked.num, found, "--num")
    for each in (reference, *samples):
        if isinstance(each, Statistics) and asked.copies:
            raise InputError(
                f"--copies given with '{each.name}', which has no images: leave it out"
            )
    if isinstance(reference, Statistics) and asked.ladder:
        raise InputError(
            f"--ladder given with '{reference.name}', which has no images: leave it out"
        )


def _facts(network: Network) -> dict[str, Any]:
    """What the numbers depend on beside the images, as the report has it."""
    of, weights = network.extractor, network.weights
    extractor = {
        "name": of.name,
        "title": of.title,
        "distance": of.distance,
        "weights": weights.path.name,
        "sha256": weights.sha256,
        "published": is_published(of, weights),
        "resize": of.resize,
    }
    return {"extractor": extractor, **results.software()}


def _write(out: Path, report: dict[str, Any]) -> None:
    """Writes report.json and report.md, and prints the latter."""
    report["flags"] = list(flags(report))
    results.write_json(out / "report.json", report)
    text = markdown(report)
    write_whole(out / "report.md", text)
    print(text)
    print(f"report: {out / 'report.json'}, {out / 'report.md'}")


def _described(found: Images | Statistics, num: int | None) -> dict[str, Any]:
    size = list(found.size) if isinstance(found, Images) else None
    return {"name": found.name, "num": num, "size": size, **found.facts}


# Results


def measure(network: Network, ours: Features, theirs: Features, most: int) -> dict[str, Any]:
    """The metrics that both sets allow, by the names that reports have."""
    name, distance = network.extractor.name, network.extractor.distance
    found: dict[str, Any] = {
        title: frechet_distance(ours.moments[kind], theirs.moments[kind])
        for title, kind in ((distance, "pool"), ("sFID", "spatial"))
        if kind in ours.moments and kind in theirs.moments
    }
    if ours.logits is not None and len(ours.logits) >= 10:
        found["Inception Score"] = inception_score(ours.logits)._asdict()
    if ours.features is None or theirs.features is None:
        return found
    x, y = ours.features, theirs.features
    of = "" if distance == "FID" else f"{name} "
    size = min(1000, len(x) // 2, len(y) // 2)
    if size >= 2:
        title = f"{of}kernel distance" if of else "KID"
        found[title] = kid(x, y, SUBSETS, size)._asdict() | {"subset_size": size}
    if name.startswith("clip"):
        found["CMMD"] = cmmd(x, y)
    x, y = (z[spread(len(z), most)] for z in (x, y))
    if min(len(x), len(y)) > 5:
        shares = precision_recall(x, y)._asdict() | density_coverage(x, y)._asdict()
        found |= {f"{of}{title}": share for title, share in shares.items()}
    return found


def _parts(M: int, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the reference: as many as samples, or half, evenly spaced; and the rest."""
    part = np.asarray(spread(M, min(num, M // 2)))
    return part, np.setdiff1d(np.arange(M), part)


def _floor(real: np.ndarray, num: int) -> dict[str, Any]:
    """The distance of a part of the reference, of as many images as there are samples, to the rest:
    that of a perfect model."""
    part, rest = _parts(len(real), num)
    if len(part) < 2:
        return {}
    distance = frechet_distance(moments(real[part]), moments(real[rest]))
    return {"num": len(part), "rest": len(rest), "distance": distance}


def _ladder(
    reference: Images, extract: Callable, asked: Measured, real: np.ndarray, num: int
) -> list[dict[str, Any]]:
    """The same with noise on the part; without any, it is the floor."""
    part, rest = _parts(len(real), num)
    if len(part) < 2:
        return []
    whole, rungs = moments(real[rest]), []
    for level in asked.ladder:
        noisy = _noisy(_picked(reference, len(real), part, asked.batch_size), level)
        distance = frechet_distance(extract(noisy, len(part)).moments["pool"], whole)
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


def _copies(
    found, reference, ours: Features, theirs: Features
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Which samples are nearest to images of the reference, and an image of them, of one size."""
    audit = memorisation(ours.features, theirs.features, min(NEIGHBOURS, len(theirs.features)))
    worst, grid = np.argsort(audit.ratio, kind="stable")[:SHOWN], None
    if found.size == reference.size:
        own = _pick(found, len(ours.features), worst)
        near = audit.index[worst]
        others = _pick(reference, len(theirs.features), near.ravel())
        rows = np.concatenate([own[:, None], others.reshape(*near.shape, *own.shape[1:])], axis=1)
        grid = image_files.grid(rows.reshape(-1, *own.shape[1:]), rows.shape[1])
    # infinite next to images that are in the reference twice
    ratios = [float(x) if np.isfinite(x) else None for x in audit.ratio[worst]]
    median = float(np.median(audit.ratio))
    nearest = {"median ratio": median if np.isfinite(median) else None, "smallest ratios": ratios}
    return {"authenticity": audit.authenticity, "nearest": nearest}, grid


def _pick(found: Images, num: int, places: np.ndarray) -> np.ndarray:
    """Some of the `num` images of a set, uint8 [len(places), H, W, 3]."""
    each, where = np.unique(places, return_inverse=True)
    return np.concatenate(list(_picked(found, num, each, 64)))[where]
