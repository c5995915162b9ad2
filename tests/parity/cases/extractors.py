"""Prints how far features are from the references that make/extractors.py wrote to a file.

python -m tests.parity.cases.extractors FILE.npz
"""

import functools
import sys
from collections.abc import Mapping

import jax
import numpy as np

from ldm_jax.extractors.names import INCEPTION_RESIZES, extractor
from ldm_jax.weights.names.extractors import KINDS, convert
from ldm_jax.weights.table import flattened
from ldm_jax.weights.table import shapes as shapes_of
from tests.parity import compare
from tests.parity.cases import extractor_cases as cases


def drawn_params(network):
    """Params of drawn weights, by way of the names in the published file."""
    init = jax.eval_shape(network.init, jax.random.key(0))
    table = KINDS[network.name].table({path: x.shape for path, x in flattened(init).items()})
    return convert(network, cases.state(shapes_of(table)))


@functools.cache
def compiled(name: str):
    """A network that is compiled once for all ways of resizing, with its params bound."""
    network = extractor(name)
    return functools.partial(jax.jit(network.network), drawn_params(network))


def features(images: np.ndarray) -> dict[str, np.ndarray]:
    """Ours of uint8 [B, H, W, 3], by the names that the references have."""
    found: dict[str, np.ndarray] = {}
    ways = {resize: extractor("inception", resize) for resize in INCEPTION_RESIZES}
    with jax.default_matmul_precision("highest"):
        for way, network in (ways | {"mobilenet": extractor("mobilenet")}).items():
            made = compiled(network.name)(network.scale(network.prepare(images)))
            found |= {f"{way} {name}": np.asarray(x) for name, x in made.items()}
    return found


def pairs(stored: Mapping[str, np.ndarray]) -> compare.Pairs:
    """Ours and the references of a file of whole photographs."""
    ours = features(stored["photographs"])
    return {name: (ours[name], x) for name, x in stored.items() if name in ours}


if __name__ == "__main__":
    with np.load(sys.argv[1]) as file:
        stored = dict(file)
    size = "x".join(map(str, stored["photographs"].shape[1:3]))
    print(compare.table(f"photographs of {size}", pairs(stored)))
