"""An extractor that takes no time: five sums of pixels, under the name of FID's network."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from ldm_jax.extractors.extractor import Extractor
from ldm_jax.weights.names.extractors import Weights
from tests.support import tiny

PARAMS = np.float32(np.random.default_rng(0).normal(size=(tiny.SIZE**2 * 3, 5)))
LINEAR = Extractor(
    name="inception",
    title="a linear network",
    distance="FID",
    main="pool",
    init=lambda key: jnp.zeros(PARAMS.shape),
    prepare=lambda images: images,
    scale=lambda x: jnp.asarray(x, jnp.float32) / 255.0,
    network=lambda params, x: {"pool": x.reshape(len(x), -1) @ params},
    resize="none",
    size=tiny.SIZE,
)
STAND_INS = {  # for functions of `evaluate.features`
    "extractor": lambda *_: LINEAR,
    "load_extractor": lambda *_: Weights(PARAMS, Path("linear.pth"), "6726825d00"),
}
