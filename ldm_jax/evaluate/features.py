"""Features of images, from which metrics are computed, by a named extractor."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.evaluate.results import count_of
from ldm_jax.evaluate.sets import Images, Statistics
from ldm_jax.experiments.train import check_batch
from ldm_jax.extractors.extract import make_extract
from ldm_jax.extractors.extractor import Extractor
from ldm_jax.extractors.names import ExtractorName, ResizeName, extractor
from ldm_jax.metrics.statistics import Moments, Running, moments
from ldm_jax.settings import AtLeast1
from ldm_jax.weights.names.extractors import Weights, load_extractor


@dataclass(frozen=True)
class Options:
    """The network of a comparison."""

    extractor: ExtractorName = "inception"
    """the network whose features are compared"""
    weights: str | None = None
    """a file with its weights; default: installed, or downloaded"""
    resize: ResizeName | None = None
    """of inception, whose FID it is: tensorflow (ADM's and torch-fidelity's), pytorch
    (pytorch-fid's) or clean (clean-fid's)"""
    batch_size: AtLeast1 = 32
    """images per batch of the network"""


class Features(NamedTuple):
    """Features of a set.

    features: the main ones, float32 [N, d]; None where only statistics are known
    logits:   [N, classes], of extractors with which the Inception Score is
    moments:  "pool", and of InceptionV3 "spatial"
    """

    features: np.ndarray | None
    logits: np.ndarray | None
    moments: dict[str, Moments]


class Network(NamedTuple):
    """An extractor with its weights."""

    extractor: Extractor
    weights: Weights
    batch_size: int

    def facts(self) -> dict[str, Any]:
        """What statistics of its features depend on."""
        of = self.extractor
        return {"extractor": of.name, "sha256": self.weights.sha256, "resize": of.resize}

    def start(self, *more: str) -> Callable[..., Features]:
        """The features of (batches of uint8 [b, H, W, 3], total), compiled.

        Args:
            more: features beside the main ones.
        """
        main = self.extractor.main
        names = (main, *more)
        extract = make_extract(self.extractor, self.weights.params, names, self.batch_size)
        return lambda batches, total=None: gather(extract(batches, total), main)

    def check(self, found: Images | Statistics) -> None:
        """Raises InputError for statistics of other features than the extractor's."""
        if isinstance(found, Images):
            return
        for name, value in self.facts().items():
            if found.facts.get(name, value) != value:
                raise InputError(
                    f"'{found.name}' has statistics of {name} {found.facts[name]}: expected "
                    f"{value}, as for the samples"
                )
        of = self.extractor
        shapes = jax.eval_shape(
            lambda key, x: of.network(of.init(key), x),
            jax.random.key(0),
            jax.ShapeDtypeStruct((1, of.size, of.size, 3), np.float32),
        )
        for name, each in found.moments.items():
            wanted = shapes.get(of.main if name == "pool" else name)
            if wanted is not None and len(each.mean) != wanted.shape[1]:
                raise InputError(
                    f"'{found.name}' has statistics of {len(each.mean)} features: expected "
                    f"{wanted.shape[1]}, those of {of.title}"
                )


def load(asked: Any, *sets: Images | Statistics, flag: str = "--batch-size") -> Network:
    """The network of some `Options`, or of settings with these fields.

    Args:
        sets: that it is used for.
        flag: by which its batch size is given.

    Raises:
        InputError: no weights, or statistics of other features than its own.
    """
    check_batch(asked.batch_size, flag)
    of = extractor(asked.extractor, asked.resize)
    network = Network(of, load_extractor(of, asked.weights), asked.batch_size)
    for found in sets:
        network.check(found)
    return network


def gather(parts: Iterable[dict[str, np.ndarray]], main: str) -> Features:
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


def features_of(
    found: Images | Statistics, num: int | None, extract: Callable, size: int
) -> Features:
    """Features of `num` images of a set, in batches of `size`; of statistics, these."""
    if isinstance(found, Statistics):
        return Features(None, None, found.moments)
    return extract(found.batches(num, size), num)


def number(asked: int | None, found: Images | Statistics, flag: str) -> int | None:
    """The number of images of a set that are compared; None for statistics that do not say it."""
    if isinstance(found, Images):
        return count_of(asked, found.count, f"'{found.name}'", flag, least=2)
    if asked is not None:
        raise InputError(f"{flag} is {asked}: leave it out, '{found.name}' holds statistics")
    return found.facts.get("count")


def embedder(name: str, weights: str | None, batch_size: int) -> Callable[..., np.ndarray]:
    """(batches of uint8 [b, H, W, 3], total) -> embeddings float32 [N, d] by a named extractor.

    Raises:
        InputError: no such extractor, or its weights are not available.
    """
    of, weights, size = load(Options(name, weights, None, batch_size))
    extract = make_extract(of, weights.params, (of.main,), size)
    return lambda batches, total=None: np.concatenate([x[of.main] for x in extract(batches, total)])
