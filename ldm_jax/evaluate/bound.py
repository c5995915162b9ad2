"""The variational bound of an autoencoder on the images of its run, or others."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import runs
from ldm_jax.data import pipeline
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError
from ldm_jax.evaluate import results
from ldm_jax.losses.likelihood import bits_per_dimension
from ldm_jax.settings import AtLeast1, Seed
from ldm_jax.types import Array, FirstStage, Params


@dataclass(frozen=True)
class Options:
    """The settings of `bound`."""

    path: str | None = None
    """images to measure on; those of the run where not given"""
    split: str = "test"
    """of data sets that have splits"""
    num: AtLeast1 | None = None
    """images; all where not given"""
    draws: AtLeast1 = 10
    """from the posterior, for each image"""
    batch_size: AtLeast1 = 100
    """images measured at once"""
    seed: Seed = 0
    """of the draws"""


def bound(run: str, options: Options) -> None:
    """The negative variational bound, in nats per image and bits per dimension."""
    described = runs.describe_first_stage(Path(run))
    model = described.experiment.model
    data = described.experiment.data.seen_from(described.run)
    if not model.has_likelihood:
        raise InputError(
            f"run '{run}' is of a {type(model).__name__}: expected an MLPAutoencoder, whose "
            "decoder is a distribution of images"
        )
    data = replace(
        data, path=options.path or data.path, split=options.split, flip=False, repeats=False
    )
    source, info = results.open_images(data)
    num = results.count_of(options.num, info.num_examples, f"{data.path} {data.split}")
    trained = runs.with_weights(described)
    images = _images(replace(data, batch_size=min(options.batch_size, num)), source, num)
    key = jax.random.key(options.seed)
    terms = negative_bound(trained.model, trained.params, images, key, options.draws)
    means = {name.replace("_", " "): float(np.mean(nats)) for name, nats in terms.items()}
    results.finite(means)
    for (name, mean), nats in zip(means.items(), terms.values(), strict=True):
        print(f"{name}: {mean:.2f} +- {np.std(nats) / np.sqrt(num):.2f} nats")
    dimensions = model.image_size**2 * model.image_channels
    bits = bits_per_dimension(-np.mean(terms["negative_bound"]), dimensions)
    print(f"bits per dimension: {bits:.4f} ({num} images of {data.path} {data.split})")


def _images(data: Data, source, num: int) -> Iterator[np.ndarray]:
    """`num` different images, in batches."""
    batches = pipeline.batches(data, source, seed=0, keys=())  # an epoch first, each image once
    for start in range(0, num, data.batch_size):
        yield next(batches)["image"][: num - start]


def negative_bound(
    first_stage: FirstStage,
    params: Params,
    images: Iterable[np.ndarray],
    key: Array,
    draws: int = 1,
) -> dict[str, np.ndarray]:
    """-L(x) = E_q[-log p(x|z)] + KL(q || p) of each image, and its terms, in nats, each [N].

    Args:
        images: batches [B, H, W, 3]; each batch size is compiled once.
        draws: samples of the posterior, for the expectation.
    """

    @jax.jit
    def terms(params, images, key):
        def one(key):
            return first_stage.reconstruct(params, images, jax.random.split(key, len(images))).terms

        found = jax.lax.map(one, jax.random.split(key, draws))
        return {name: jnp.mean(term, axis=0) for name, term in found.items()}

    rows = [terms(params, batch, jax.random.fold_in(key, i)) for i, batch in enumerate(images)]
    names = ("negative_log_likelihood", "kl")
    found = {name: np.concatenate([np.asarray(row[name]) for row in rows]) for name in names}
    return {"negative_bound": sum(found.values()), **found}
