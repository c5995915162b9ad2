"""Embeddings of images, for models of retrieval: in files, and of arrays."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ldm_jax.data import image_files, pipeline, readable
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError
from ldm_jax.evaluate.features import embedder
from ldm_jax.runtime.files import whole


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
    plain = replace(data, batch_size=batch_size, max_bad_images=0)  # each row is of its image
    images = pipeline.once(plain, source, info.num_examples)
    rows = rows_of((image_files.to_uint8(batch["image"]) for batch in images), info.num_examples)
    with whole(out) as file:
        np.save(file, rows)
    print(
        f"{out}: {len(rows)} embeddings of {rows.shape[1]} numbers; for --conditions.0.embeddings, "
        f"with --conditions.0.dim {rows.shape[1]}"
    )
