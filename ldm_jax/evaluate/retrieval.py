"""Similarity of samples to the images whose neighbours they are conditioned on."""

from dataclasses import dataclass, replace

import numpy as np

from ldm_jax.data import image_files, neighbours, pipeline
from ldm_jax.errors import InputError
from ldm_jax.evaluate import held_out, results
from ldm_jax.evaluate.features import embedder
from ldm_jax.extractors.names import ExtractorName
from ldm_jax.runtime.files import whole
from ldm_jax.sampling.view import view


@dataclass(frozen=True)
class Options(held_out.Paired):
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
    described = options.described(run)
    condition = held_out.condition_of(view(described), "neighbours")
    rows = neighbours.load(condition.embeddings, condition.dim, "embeddings of Retrieval")
    num, size = options.num, options.batch_size
    data = described.experiment.data.seen_from(described.run)
    data = replace(data, split="test", batch_size=size)
    source, info = results.open_images(data)
    results.count_of(num, info.num_examples, "the test split", least=2)
    out = results.folder_of(options.out, run, "retrieval")
    results.claim(out, "retrieval", "queries.npy", "scores.json", "grid.png")
    rows_of = embedder(options.extractor, options.weights, size)
    truth = [image_files.to_uint8(b["image"]) for b in pipeline.once(data, source, num)]
    queries = rows_of(truth)
    if queries.shape[1] != condition.dim:
        raise InputError(
            f"--extractor {options.extractor} has embeddings of {queries.shape[1]} values: "
            f"expected {condition.dim}, as the run was trained with"
        )
    with whole(out / "queries.npy") as file:
        np.save(file, queries)
    given = {"neighbours": condition.embeddings, "query": str(out / "queries.npy")}
    drawn = held_out.draw(described, options, out, num, **given)
    results.show(out, np.concatenate(truth), drawn)
    near = rows[neighbours.nearest(rows, queries, condition.neighbours)].mean(axis=1)
    found = rows_of([drawn[i : i + size] for i in range(0, num, size)])
    pairs = {name: nearness(x, queries) for name, x in (("images", found), ("neighbours", near))}
    share = float(np.mean(np.greater(*pairs["images"])))
    scores = {name: [float(x.mean()) for x in pair] for name, pair in pairs.items()}
    results.write_json(out / "scores.json", scores | {"nearer to its own": share})
    own, other = scores["images"]
    print(f"cosine to the held-out image: {own:.3f} (to another {other:.3f})")
    own, other = scores["neighbours"]
    print(f"the same of the mean of its neighbours: {own:.3f} ({other:.3f})")
    print(f"nearer to its own than to another: {share:.1%} (by chance 50.0%)")


def nearness(rows: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of each row [N, d] to its query, and to the next one's, [N] each."""
    rows, queries = neighbours.unit(rows), neighbours.unit(queries)
    own = np.sum(rows * queries, axis=1)
    return own, np.sum(rows * np.roll(queries, 1, axis=0), axis=1)
