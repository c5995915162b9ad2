"""Evaluation during training, which decides the best checkpoint.

Training is not affected: samples have their own random keys, conditions and images their own
iterators. Several hosts each draw and evaluate a share of each batch and all_gather the features,
so that each has the results of a single host.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ldm_jax.autoencoders.latents import scaled
from ldm_jax.data import image_files, latents
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError
from ldm_jax.evaluate.samples import check_statistics, features_of, gather
from ldm_jax.evaluate.sets import Images, Statistics, of_data, open_set
from ldm_jax.experiments.evaluation import Evaluation, FirstStageEvaluation
from ldm_jax.experiments.train import Train, check_batch
from ldm_jax.extractors.extract import make_extract
from ldm_jax.extractors.extractor import Extractor
from ldm_jax.extractors.names import extractor
from ldm_jax.metrics.frechet import frechet_distance
from ldm_jax.metrics.reconstruction import SMALLEST, Means, psnr, ssim
from ldm_jax.metrics.statistics import Moments
from ldm_jax.metrics.statistics_file import read_statistics, write_statistics
from ldm_jax.runtime import hosts
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling.generate import each_batch
from ldm_jax.train_step.state import Measurement, averaged_params
from ldm_jax.types import Array, Batch, FirstStage, Params, TrainState
from ldm_jax.weights.names.extractors import Weights, load_extractor

COLUMNS = {"inception": "fid", "dinov2": "fd_dinov2"}  # of others NAME_fd


class Distance(NamedTuple):
    """All that a distance to real images needs, except the model.

    num: images of the reference; None where it is statistics
    """

    asked: Evaluation
    network: Extractor
    weights: Weights
    reference: Images | Statistics
    num: int | None

    @property
    def column(self) -> str:
        """Its name in metrics.csv."""
        return COLUMNS.get(self.network.name, f"{self.network.name}_fd")


def prepare(asked: Evaluation, data: Data, source: Any) -> Distance | None:
    """The distance to measure, or None. No device is used.

    Args:
        data, source: of training.

    Raises:
        InputError: no weights, or nothing to compare with.
    """
    if not asked.every:
        return None
    check_batch(asked.batch_size, "evaluation.batch_size")
    network = extractor(asked.extractor, asked.resize)
    if asked.reference:
        reference = open_set(asked.reference)
    elif isinstance(source, latents.Source):
        raise InputError(
            f"evaluation.every is {asked.every} and data.path '{data.path}' has latents: "
            "expected evaluation.reference, the images themselves or their statistics"
        )
    else:
        reference = of_data("the training data", data, source)
    weights = load_extractor(network, asked.weights)
    check_statistics(reference, network, weights)
    if isinstance(reference, Statistics):
        return Distance(asked, network, weights, reference, None)
    num = min(asked.num_reference, reference.count)
    if num < 2:
        raise InputError(f"'{reference.name}' has {num} images: expected at least 2 to compare to")
    return Distance(asked, network, weights, reference, num)


def distance_of_samples(
    wanted: Distance,
    run: Path,
    generate: Callable[[Params, Batch, Array], Array],
    conditions: Batch,
    train: Train,
) -> Measurement:
    """The Frechet distance of samples, of the seeds 0, 1, ..., to the reference.

    Args:
        run: keeps the statistics of the reference, so that they are computed once.
        generate: (params, inputs, seeds) -> images, compiled for a size of batch.
        conditions: inputs of the conditioner, each [num, ...].
        train: its mesh.
    """
    asked, network = wanted.asked, wanted.network
    extract = make_extract(network, wanted.weights.params, (network.main,), asked.batch_size)
    real = _reference(wanted, run / "evaluation" / "reference.npz", extract)
    spread = devices("jit", train.mesh)

    def draw(params: Params) -> Iterator[np.ndarray]:
        def one_batch(inputs: Batch, seeds: np.ndarray) -> Array:
            return spread.collect(generate(params, *spread.share((inputs, seeds))))

        seeds = range(asked.num)
        for images in each_batch(one_batch, conditions, seeds, asked.batch_size):
            yield image_files.to_uint8(images)

    def of(state: TrainState) -> dict[str, float]:
        params = spread.place(averaged_params(state))
        found = gather(extract(draw(params), asked.num), network.main)
        distance = frechet_distance(found.moments["pool"], real)
        return hosts.as_the_first({wanted.column: distance})

    return Measurement(asked.every, (wanted.column,), of)


def _reference(wanted: Distance, file: Path, extract: Callable) -> Moments:
    """The statistics of the reference's features: from the file, where they are of the same, or
    computed and written to it."""
    if isinstance(wanted.reference, Statistics):
        return wanted.reference.moments["pool"]
    of = wanted.reference
    kept = {name: x for name, x in of.facts.items() if name in ("data", "split", "preparation")}
    facts = {
        "extractor": wanted.network.name,
        "sha256": wanted.weights.sha256,
        "resize": wanted.network.resize,
        "count": wanted.num,
        "reference": f"{of.name}, {of.count} of {of.size} pixels, {kept}",
    }
    saved = read_statistics(file) if file.exists() else None
    if hosts.all_agree(saved is not None and saved.metadata == facts):
        return saved.moments["pool"]
    print(f"evaluation: {wanted.num} images of {of.name}", flush=True)
    size = wanted.asked.batch_size
    found = features_of(of, wanted.num, extract, wanted.network.main, size).moments
    if hosts.is_first():
        write_statistics(file, found, facts)
    return found["pool"]


def scores(size: int) -> dict[str, Callable[[Array, Array], Array]]:
    """Metrics of reconstructions of `size` pixels a side; SSIM needs 11."""
    return {"eval_psnr": psnr} | ({"eval_ssim": ssim} if size >= SMALLEST else {})


def quality_of_reconstructions(
    asked: FirstStageEvaluation,
    stage: FirstStage,
    size: int,
    batches: Callable[[], Iterator[Batch]],
) -> Measurement:
    """Reconstructions of posterior means against the images.

    Args:
        size: pixels a side.
        batches: the images, the same each time.
    """
    measured, spread = scores(size), devices("jit")

    @jax.jit
    def measure(params: Params, images: Array) -> dict[str, Array]:
        mean = stage.posterior(params, images).mean
        back = stage.decode(params, scaled(params, mean))
        return {name: score(images, back) for name, score in measured.items()}

    def of(state: TrainState) -> dict[str, float]:
        params, means = spread.replicate(averaged_params(state)), Means()
        for batch in batches():
            count = len(batch["image"])
            rows = np.minimum(np.arange(asked.batch_size), count - 1)  # padded by the last
            found = spread.collect(measure(params, spread.share(batch["image"][rows])))
            means.add({name: x[:count] for name, x in found.items()})
        return hosts.as_the_first({name: float(mean) for name, mean in means.result().items()})

    return Measurement(asked.every, tuple(measured), of)
