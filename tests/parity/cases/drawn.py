"""Numbers drawn from a name: the same weights wherever the name is known, and no file to keep."""

import hashlib
from collections.abc import Mapping

import numpy as np


def normal(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers that belong to the name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weight behind a key of the original: sizes like those of a network at its start.

    Embeddings (and whatever else has "emb" in its name, such as the layers that take the step) are
    small, other matrices keep the variance, norms are about 1, biases about 0.
    """
    n = normal(name, shape)
    if len(shape) >= 2:
        parent = f".{name}".split(".")[-2]  # "" of a name without a dot
        if "emb" in parent or name.endswith("emb.weight") or "embedding" in name:
            return n * 0.02
        return n / np.sqrt(np.prod(shape[1:], dtype=np.float64)).astype("f")
    return 1 + 0.1 * n if name.endswith(("weight", ".g")) else 0.1 * n


def state(shapes: Mapping[str, tuple[int, ...]], prefix: str = "") -> dict[str, np.ndarray]:
    """A state dict; weights are drawn from the key with the prefix, and filed without it."""
    return {key: weight(prefix + key, tuple(shape)) for key, shape in shapes.items()}
