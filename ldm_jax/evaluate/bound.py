"""The variational bound of an autoencoder on the images of its run, or others."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from ldm_jax import runs
from ldm_jax.data import pipeline
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError
from ldm_jax.evaluate.image_bound import negative_bound
from ldm_jax.losses.likelihood import bits_per_dimension
from ldm_jax.settings import check_within


@dataclass(frozen=True)
class Options:
    """The settings of `bound`."""

    path: str | None = None
    """images to measure on; those of the run where not given"""
    split: str = "test"
    """of data sets that have splits"""
    num: int | None = None
    """images; all where not given"""
    draws: int = 10
    """from the posterior, for each image"""
    batch_size: int = 100
    """images measured at once"""
    seed: int = 0
    """of the draws"""


def bound(run: str, options: Options) -> None:
    """The negative variational bound, in nats per image and bits per dimension."""
    described = runs.describe_first_stage(Path(run))
    model = described.experiment.model
    if not model.has_likelihood:
        raise InputError(
            f"run '{run}' is of a {type(model).__name__}: expected an MLPAutoencoder, whose "
            "decoder is a distribution of images"
        )
    for name in ("draws", "batch_size", "num"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} is {value}: expected at least 1")
    data = described.experiment.data.seen_from(described.run)
    data = replace(data, path=options.path or data.path, split=options.split, flip=False)
    source, info = pipeline.open_source(data)
    num = options.num or info.num_examples
    check_within(num, "--num", 1, info.num_examples, f"the images of {data.path} {data.split}")
    trained = runs.with_weights(described)
    images = _images(replace(data, batch_size=min(options.batch_size, num)), source, num)
    key = jax.random.key(options.seed)
    terms = negative_bound(trained.model, trained.params, images, key, options.draws)
    dimensions = model.image_size**2 * model.image_channels
    for name, nats in terms.items():
        error = np.std(nats) / np.sqrt(num)
        print(f"{name.replace('_', ' ')}: {np.mean(nats):.2f} +- {error:.2f} nats")
    bits = bits_per_dimension(-np.mean(terms["negative_bound"]), dimensions)
    print(f"bits per dimension: {bits:.4f} ({num} images of {data.path} {data.split})")


def _images(data: Data, source, num: int) -> Iterator[np.ndarray]:
    """`num` different images, in batches."""
    batches = pipeline.batches(data, source, seed=0, keys=())  # an epoch first, each image once
    for start in range(0, num, data.batch_size):
        yield next(batches)["image"][: num - start]
