"""LPIPS on this side: distances and gradients beside the reference.

python -m tests.parity.cases.perceptual [FILE.npz]     prints how far they are apart
"""

import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.losses.lpips import lpips
from ldm_jax.weights import table
from ldm_jax.weights.names.lpips import load_lpips
from ldm_jax.weights.names.lpips import table as rows
from tests.parity import compare
from tests.parity.cases import perceptual_cases as cases
from tests.parity.cases.networks import channels_last
from tests.parity.folders import ARRAYS

FILE = ARRAYS / "perceptual.npz"


def params(name: str):
    """Of a network whose weights are drawn, or published: "NETWORK" or "NETWORK published"."""
    network, _, published = name.partition(" ")
    if published:
        return load_lpips(network)
    return table.to_here(rows(network, whole=True), cases.state(network))


def available(name: str) -> bool:
    """Whether the weights can be had without the net."""
    return "published" not in name or find_spec("stlpips_pytorch") is not None


@cache
def compiled(network: str):
    """(params, x, y) -> the gradient of the loss by x, and the distances."""
    distance = lpips(network).distance

    def loss(x, y, params):
        found = distance(params, channels_last(x), channels_last(y))
        return jnp.sum(found * cases.cotangent()), found

    return jax.jit(jax.grad(loss, has_aux=True))


def ours(name: str, size: tuple[int, int], dtype: str) -> dict[str, np.ndarray]:
    """Distances, and the gradient of the loss by x, of which every third pixel is kept."""
    run = compiled(name.partition(" ")[0])
    arguments = jax.tree.map(lambda w: w.astype(dtype), (*cases.images(size), params(name)))
    with jax.default_matmul_precision("highest"), jax.enable_x64(dtype == "float64"):
        gradient, found = run(*arguments)
    return {"distance": found, "gradient": gradient[..., ::3, ::3]}


def names(file: Path = FILE) -> list[str]:
    """What a file has references for."""
    with np.load(file) as reference:
        return sorted({key.partition(":")[0] for key in reference if ":" in key})


def pairs(name: str, dtype: str, file: Path = FILE) -> compare.Pairs:
    """Ours, computed in `dtype`, and the reference, in float64, by the name of the array."""
    with np.load(file) as reference:
        found = ours(name, tuple(reference["size"]), dtype)
        return {key: (np.asarray(w), reference[f"{name}:{key}"]) for key, w in found.items()}


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    for name in names(chosen):
        for dtype in ("float32", "float64"):
            if available(name):
                print(compare.table(f"{name} | {dtype}", pairs(name, dtype, chosen)))
            else:
                print(f"{name}: skipped; needs pip install --no-deps stlpips-pytorch==0.0.2")
