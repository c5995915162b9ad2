"""Images -> features, batch by batch, over all devices of all hosts."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from tqdm import tqdm

from ldm_jax.extractors.extractor import Extractor
from ldm_jax.runtime.sharding import devices
from ldm_jax.types import Params

# batches in flight: with one alone a CPU's cores wait at the end of every small operation
IN_FLIGHT = 2


def make_extract(extractor: Extractor, params: Params, names: Sequence[str], batch_size: int):
    """A function that runs images through a network, compiled for one size of batch.

    Args:
        names: of the features to compute.
        batch_size: a multiple of the number of devices.

    Returns:
        extract(batches of uint8 [b, H, W, 3] with b <= batch_size, total) -> features by name, each
        float32 [b, d], in the order of the images. Further batches are prepared while some are
        computed; `total` is for the progress bar. With several hosts each is given all batches,
        computes its share of each, and returns all features.
    """
    mesh = devices("jit")
    params = mesh.replicate(params)

    @jax.jit
    def compute(params, images):
        found = extractor.features(params, images)
        return {name: found[name] for name in names}

    def features(images: np.ndarray) -> dict[str, np.ndarray]:
        rows = np.minimum(np.arange(batch_size), len(images) - 1)  # the last fills the batch up
        found = mesh.collect(compute(params, mesh.share(extractor.prepare(images)[rows])))
        return {name: x[: len(images)] for name, x in found.items()}

    def extract(
        batches: Iterable[np.ndarray], total: int | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        bar = tqdm(total=total, desc=extractor.name, unit="image", disable=not sys.stderr.isatty())
        with bar:
            # hosts have to communicate in the same order, so they take one batch at a time
            several = jax.process_count() > 1
            for found in (map if several else _in_order)(features, batches):
                yield found
                bar.update(len(found[names[0]]))

    return extract


def _in_order(work: Callable, items: Iterable) -> Iterator:
    """work(item) for each, several at a time; items are taken in the calling thread only."""
    under_way = deque()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        for item in items:
            under_way.append(pool.submit(work, item))
            if len(under_way) > IN_FLIGHT:  # one waits, so that none of the threads has to
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
