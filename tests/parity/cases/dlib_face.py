"""dlib's face network with drawn weights, beside face-api's stored outputs.

python -m tests.parity.cases.dlib_face FOLDER     writes the weights as tensorflow.js has them
"""

import json
import sys
from pathlib import Path

import numpy as np
from flax.traverse_util import unflatten_dict

from ldm_jax.extractors import dlib_face
from ldm_jax.weights.formats.tfjs import read_tfjs
from tests.parity import compare
from tests.parity.folders import ARRAYS

MANIFEST = "face_recognition_model-weights_manifest.json"


def images() -> np.ndarray:
    """uint8 [2, 150, 150, 3]."""
    y, x = np.mgrid[:150, :150] / 150
    smooth = 110 * np.stack([np.sin(7 * x + 3 * y), np.cos(45 * x * y), x * y], -1) + 120
    noise = np.random.default_rng(0).integers(0, 256, (150, 150, 3))
    return np.uint8(np.clip([smooth, noise], 0, 255))


def weights() -> dict[str, np.ndarray]:
    rng, found = np.random.default_rng(1), {}

    def layer(name: str, size: int, into: int, out: int) -> None:
        kernel = rng.standard_normal((size, size, into, out)) / (size * into**0.5)
        each = {"conv/filters": kernel, "conv/bias": 0.1 * rng.standard_normal(out)}
        each["scale/weights"] = 1 + 0.1 * rng.standard_normal(out)
        each["scale/biases"] = 0.1 * rng.standard_normal(out)
        found.update({f"{name}/{part}": np.float32(x) for part, x in each.items()})

    width = 32
    layer("conv32_down", 7, 3, width)
    for block in dlib_face.BLOCKS:
        into, width = width, int(block.partition("_")[0])
        layer(f"conv{block}/conv1", 3, into, width)
        layer(f"conv{block}/conv2", 3, width, width)
    return {**found, "fc": np.float32(rng.standard_normal((width, 128)) / width**0.5)}


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    each = [{"name": n, "shape": x.shape, "dtype": "float32"} for n, x in weights().items()]
    manifest = [{"weights": each, "paths": ["face_recognition_model.bin"]}]
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    data = b"".join(x.tobytes() for x in weights().values())
    (folder / "face_recognition_model.bin").write_bytes(data)
    (folder / "images.bin").write_bytes(images().tobytes())


def pairs(folder: Path) -> compare.Pairs:
    """Ours and face-api's, with the weights in the folder."""
    params = unflatten_dict(read_tfjs(folder / MANIFEST), sep="/")
    found = dlib_face.embedded(params, np.float32(images()))
    with np.load(ARRAYS / "dlib_face.npz") as reference:
        return {"embeddings": (np.asarray(found), reference["embeddings"])}


if __name__ == "__main__":
    write(Path(sys.argv[1]))
