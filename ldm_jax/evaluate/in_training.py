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
from ldm_jax.evaluate import features
from ldm_jax.evaluate.results import count_of
from ldm_jax.evaluate.sets import Images, Statistics, of_data, open_set
from ldm_jax.experiments.evaluation import Evaluation, FirstStageEvaluation
from ldm_jax.experiments.train import Train
from ldm_jax.metrics.frechet import frechet_distance
from ldm_jax.metrics.reconstruction import SMALLEST, psnr, ssim
from ldm_jax.metrics.statistics import Moments
from ldm_jax.metrics.statistics_file import read_statistics, write_statistics
from ldm_jax.runtime import hosts
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling.generate import each_batch
from ldm_jax.train_step.state import Measurement, averaged_params
from ldm_jax.types import Array, Batch, FirstStage, Params, TrainState

COLUMNS = {"inception": "fid", "dinov2": "fd_dinov2"}  # of others NAME_fd


class Distance(NamedTuple):
    """All that a distance to real images needs, except the model.

    num: images of the reference; None where it is statistics
    """

    asked: Evaluation
    network: features.Network
    reference: Images | Statistics
    num: int | None

    @property
    def column(self) -> str:
        """Its name in metrics.csv."""
        name = self.network.extractor.name
        return COLUMNS.get(name, f"{name}_fd")


def prepare(asked: Evaluation, data: Data, source: Any) -> Distance | None:
    """The distance to measure, or None. No device is used.

    Args:
        data, source: of training.

    Raises:
        InputError: no weights, or nothing to compare with.
    """
    if not asked.every:
        return None
    if asked.reference:
        reference = open_set(asked.reference)
    elif isinstance(source, latents.Source):
        raise InputError(
            f"evaluation.every is {asked.every} and data.path '{data.path}' has latents: "
            "expected evaluation.reference, the images themselves or their statistics"
        )
    else:
        reference = of_data("the training data", data, source)
    network = features.load(asked, reference, flag="evaluation.batch_size")
    num = None
    if isinstance(reference, Images):
        most = min(asked.num_reference, reference.count)
        num = count_of(most, reference.count, f"'{reference.name}'", least=2)
    return Distance(asked, network, reference, num)


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
    asked, extract = wanted.asked, wanted.network.start()
    real = _reference(wanted, run / "evaluation" / "reference.npz", extract)
    spread = devices("jit", train.mesh)

    def draw(params: Params) -> Iterator[np.ndarray]:
        def one_batch(inputs: Batch, seeds: np.ndarray) -> Array:
            return spread.collect(generate(params, *spread.share((inputs, seeds))))

        seeds = range(asked.num)
        for images in each_batch(one_batch, conditions, seeds, asked.batch_size):
            if not np.isfinite(images).all():
                raise FloatingPointError("samples for the evaluation are not finite")
            yield image_files.to_uint8(images)

    def of(state: TrainState) -> dict[str, float]:
        params = spread.place(averaged_params(state))
        distance = frechet_distance(extract(draw(params), asked.num).moments["pool"], real)
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
        **wanted.network.facts(),
        "count": wanted.num,
        "reference": f"{of.name}, {of.count} of {of.size} pixels, {kept}",
    }
    saved = read_statistics(file) if file.exists() else None
    if hosts.all_agree(saved is not None and saved.metadata == facts):
        return saved.moments["pool"]
    print(f"evaluation: {wanted.num} images of {of.name}", flush=True)
    found = features.features_of(of, wanted.num, extract, wanted.asked.batch_size).moments
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
        params, rows = spread.replicate(averaged_params(state)), []
        for batch in batches():
            count = len(batch["image"])
            padded = np.minimum(np.arange(asked.batch_size), count - 1)  # by the last
            found = spread.collect(measure(params, spread.share(batch["image"][padded])))
            rows.append({name: np.float64(x[:count]) for name, x in found.items()})
        means = {name: np.concatenate([row[name] for row in rows]).mean() for name in measured}
        return hosts.as_the_first({name: float(mean) for name, mean in means.items()})

    return Measurement(asked.every, tuple(measured), of)
