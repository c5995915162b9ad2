"""Embeddings of images by a named extractor."""

from collections.abc import Callable

import numpy as np

from ldm_jax.experiments.train import check_batch
from ldm_jax.extractors.extract import make_extract
from ldm_jax.extractors.names import extractor
from ldm_jax.weights.names.extractors import load_extractor


def embedder(name: str, weights: str | None, batch_size: int) -> Callable[..., np.ndarray]:
    """(batches of uint8 [b, H, W, 3], total) -> embeddings float32 [N, d] by a named extractor.

    Raises:
        InputError: no such extractor, or its weights are not available.
    """
    check_batch(batch_size, "--batch-size")
    network = extractor(name)
    found = load_extractor(network, weights)
    extract = make_extract(network, found.params, (network.main,), batch_size)

    def embeddings(batches, total=None) -> np.ndarray:
        return np.concatenate([found[network.main] for found in extract(batches, total)])

    return embeddings
