"""Similarity of samples to the images whose neighbours they are conditioned on."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ldm_jax import runs, sampling
from ldm_jax.data import image_files, neighbours, pipeline
from ldm_jax.errors import InputError
from ldm_jax.evaluate import held_out
from ldm_jax.evaluate.embedder import embedder
from ldm_jax.extractors.names import ExtractorName
from ldm_jax.sampling.view import view
from ldm_jax.settings import check_folder, check_within


@dataclass(frozen=True)
class Options(held_out.Options):
    """The settings of `retrieval`."""

    extractor: ExtractorName = "mobilenet"
    """the network of the embeddings that the run was trained with"""
    weights: str | None = None
    """a file with its weights; default: installed, or downloaded"""


def retrieval(run: str, options: Options) -> None:
    """Draws for the neighbours of held-out images, and prints cosines to those images.

    The neighbours are training images. The last line is the share of samples whose embedding is
    nearer to that of their own held-out image than to that of another one.

    Raises:
        InputError: a model of another condition, or embeddings that are not the extractor's.
    """
    described = runs.describe(Path(run))
    understood = view(described)
    condition = held_out.condition_of(understood, "neighbours")
    rows = neighbours.load(condition.embeddings, condition.dim, "embeddings of Retrieval")
    data = described.experiment.data.seen_from(described.run)
    data = replace(data, split="test", batch_size=options.batch_size)
    source, info = pipeline.open_source(data)
    check_within(options.num, "--num", 2, info.num_examples, "the held-out images")
    rows_of = embedder(options.extractor, options.weights, options.batch_size)
    truth = [image_files.to_uint8(b["image"]) for b in pipeline.once(data, source, options.num)]
    queries = rows_of(truth)
    if queries.shape[1] != condition.dim:
        raise InputError(
            f"--extractor {options.extractor} has embeddings of {queries.shape[1]} values: "
            f"expected {condition.dim}, as the run was trained with"
        )
    out = Path(options.out or runs.folder(run) / "retrieval")
    check_folder(out, "--out")
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "queries.npy", queries)
    request = options.request(
        understood,
        num=options.num,
        batch_size=options.batch_size,
        neighbours=condition.embeddings,
        query=str(out / "queries.npy"),
    )
    trained = runs.with_weights(described)
    drawn = sampling.draw(trained, request)
    sampling.write(out, drawn, trained, request)
    pairs = np.stack([np.concatenate(truth), drawn.images], axis=1)[:16]
    image_files.save(out / "grid.png", image_files.grid(pairs.reshape(-1, *pairs.shape[2:]), 8))
    size = options.batch_size
    batches = [drawn.images[i : i + size] for i in range(0, options.num, size)]
    own, other = nearness(rows_of(batches), queries)
    means = rows[neighbours.nearest(rows, queries, condition.neighbours)].mean(axis=1)
    best = nearness(means, queries)
    print(f"cosine to the held-out image: {own.mean():.3f} (to another {other.mean():.3f})")
    print(f"the same of the mean of its neighbours: {best[0].mean():.3f} ({best[1].mean():.3f})")
    print(f"nearer to its own than to another: {np.mean(own > other):.1%} (by chance 50.0%)")


def nearness(rows: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of each row [N, d] to its query, and to the next one's, [N] each."""
    rows, queries = neighbours.unit(rows), neighbours.unit(queries)
    own = np.sum(rows * queries, axis=1)
    return own, np.sum(rows * np.roll(queries, 1, axis=0), axis=1)
