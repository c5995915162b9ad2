"""Images -> features, batch by batch, over all devices."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from tqdm import tqdm

from ldm_jax.extractors.extractor import Extractor
from ldm_jax.sharding import devices
from ldm_jax.types import Params


def make_extract(extractor: Extractor, params: Params, names: Sequence[str], batch_size: int):
    """A function that runs images through a network, compiled for one size of batch.

    Args:
        names: of the features that are wanted; nothing else is computed.
        batch_size: a multiple of the number of devices.

    Returns:
        extract(batches of uint8 [b, H, W, 3] with b <= batch_size, total) -> features by name, each
        float32 [b, d], in the order of the images. The next batch is prepared while one is looked
        at; `total` is for the progress bar.
    """
    spread = devices("jit")
    params = spread.replicate(params)

    @jax.jit
    def look(params, images):
        found = extractor.features(params, images)
        return {name: found[name] for name in names}

    def prepared(images: np.ndarray) -> tuple[int, np.ndarray]:
        rows = np.minimum(np.arange(batch_size), len(images) - 1)  # the last fills the batch up
        return len(images), extractor.prepare(images)[rows]

    def extract(
        batches: Iterable[np.ndarray], total: int | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        bar = tqdm(total=total, desc=extractor.name, unit="image", disable=not sys.stderr.isatty())
        with bar:
            for count, images in _ahead(prepared, batches):
                found = look(params, spread.split(images))
                yield {name: np.asarray(x)[:count] for name, x in found.items()}
                bar.update(count)

    return extract


def _ahead(work, items: Iterable) -> Iterator:
    """work(item) for each, the next one begun in a thread before this one is given."""
    items = iter(items)

    def take():
        try:
            return (work(next(items)),)
        except StopIteration:
            return ()

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(take)
        while found := coming.result():
            coming = pool.submit(take)
            yield found[0]
