"""Embeddings of images, for models of retrieval: in files, and of arrays."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ldm_jax import pictures
from ldm_jax.config import Data
from ldm_jax.convert.extractors import load_extractor
from ldm_jax.data import pipeline, readable
from ldm_jax.errors import InputError
from ldm_jax.extractors.names import extractor
from ldm_jax.pipelines.extract import make_extract
from ldm_jax.sharding import check_batch


def embedder(name: str, weights: str | None, batch_size: int) -> Callable[..., np.ndarray]:
    """(batches of uint8 [b, H, W, 3], total) -> embeddings float32 [N, d] by a named extractor.

    Raises:
        InputError: an extractor that is not there, or whose weights cannot be had.
    """
    check_batch(batch_size, "--batch-size")
    network = extractor(name)
    found = load_extractor(network, weights)
    extract = make_extract(network, found.params, (network.main,), batch_size)

    def embeddings(batches, total=None) -> np.ndarray:
        return np.concatenate([found[network.main] for found in extract(batches, total)])

    return embeddings


def embed(data: Data, out: Path, name: str, weights: str | None, batch_size: int) -> None:
    """Writes the embeddings of all images of `data` as [N, d], in their order.

    Raises:
        InputError: what cannot be embedded or written, before anything is computed; or images that
            cannot be read, whose rows would be others'.
    """
    if out.suffix != ".npy" or out.exists() or not out.parent.is_dir():
        raise InputError(f"'{out}' is no name of a new .npy in a folder that exists")
    source, info = pipeline.open_source(data)
    readable.check_readable(data, source)
    rows_of = embedder(name, weights, batch_size)
    images = pipeline.once(_plain(data, batch_size), source, info.num_examples)
    rows = rows_of((pictures.to_uint8(batch["image"]) for batch in images), info.num_examples)
    unfinished = out.with_name(f".{out.name}")
    with unfinished.open("wb") as file:
        np.save(file, rows)
    unfinished.replace(out)
    print(
        f"{out}: {len(rows)} embeddings of {rows.shape[1]} numbers; for --condition.embeddings, "
        f"with --condition.dim {rows.shape[1]}"
    )


def _plain(data: Data, batch_size: int) -> Data:
    """Such that each row is of the image with its number."""
    return replace(data, batch_size=batch_size, max_bad_images=0)
