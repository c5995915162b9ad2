"""Weights of tensorflow.js: a manifest in JSON, which names arrays, and shards with their bytes."""

import json
import math
from pathlib import Path

import numpy as np

from ldm_jax.errors import InputError, reading
from ldm_jax.settings import at_home


def read_tfjs(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a manifest by name, float32 where they are quantized.

    Raises:
        InputError: it is no manifest, or its shards do not hold what it says.
    """
    path, found = at_home(path), {}
    with reading(
        f"'{path}'", "a weights_manifest.json of tensorflow.js, with its shards beside it"
    ):
        for group in json.loads(path.read_text("utf-8")):
            data = b"".join((path.parent / name).read_bytes() for name in group["paths"])
            start = 0
            for one in group["weights"]:
                how = one.get("quantization", {"dtype": one["dtype"]})
                dtype, count = np.dtype(how["dtype"]), math.prod(one["shape"])
                x = np.frombuffer(data, dtype, count, start).reshape(one["shape"])
                start += count * dtype.itemsize
                if "scale" in how:
                    x = np.float32(x * np.float64(how["scale"]) + how["min"])
                found[one["name"]] = x
            if start != len(data):
                raise InputError(f"'{path}' names {start} bytes, and its shards have {len(data)}")
    return found
