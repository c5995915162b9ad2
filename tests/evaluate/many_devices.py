"""Statistics of features that one device finds, and eight simulated ones.

python many_devices.py OUT.npz
"""

import os
import sys

os.environ["JAX_NUM_CPU_DEVICES"] = "8"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.extractors import extract
from ldm_jax.extractors.extractor import Extractor
from ldm_jax.extractors.mobilenet import InvertedResidual
from ldm_jax.extractors.resize import tensorflow_bilinear
from ldm_jax.metrics.statistics import merge, sums
from ldm_jax.runtime.sharding import devices

jax.config.update("jax_disable_most_optimizations", True)
BLOCK = InvertedResidual(2, 6, 2)
NETWORK = Extractor(
    name="block",
    title="a block of MobileNetV2",
    distance="none",
    main="pool",
    init=lambda key: BLOCK.init(key, jnp.zeros((1, 8, 8, 3)))["params"],
    prepare=lambda images: images,
    scale=lambda x: tensorflow_bilinear(x, 8) / 255.0,
    network=lambda params, x: {"pool": jnp.mean(BLOCK.apply({"params": params}, x), axis=(1, 2))},
    resize="TensorFlow's",
    size=8,
)


def main(out: str) -> None:
    assert jax.device_count() == 8
    images = np.random.default_rng(0).integers(0, 256, (37, 10, 9, 3), np.uint8)
    params = NETWORK.init(jax.random.key(0))
    batches = [images[i : i + 16] for i in range(0, 37, 16)]
    spread = extract.make_extract(NETWORK, params, ("pool",), 16)
    eight = [found["pool"] for found in spread(batches)]
    look = jax.jit(NETWORK.features)
    one = [np.asarray(look(params, batch)["pool"]) for batch in batches]
    assert devices("jit").count == 8
    np.savez(
        out,
        one=np.concatenate(one),
        eight=np.concatenate(eight),
        outer_one=merge(map(sums, one)).outer,
        outer_eight=merge(map(sums, eight)).outer,
    )


if __name__ == "__main__":
    main(sys.argv[1])
