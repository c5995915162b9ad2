"""Weights and arrays by which extractors are compared."""

from collections.abc import Mapping

import numpy as np

from tests.parity.cases import drawn

SIZES = ((40, 56), (320, 310))  # of photographs, height and width: to be enlarged and reduced
KEPT = 8  # every n-th feature is stored


def state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights of networks of convolutions, norms and ReLU, which keep the size of what they see."""
    return {key: _weight(key, tuple(shape)) for key, shape in shapes.items()}


def _weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    if key.endswith("running_var"):
        return np.exp(0.3 * drawn.normal(key, shape))
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    gain = np.sqrt(np.float32(2)) if len(shape) == 4 else np.float32(1)
    return gain * drawn.weight(key, shape)


def enlarged(photographs: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 [B, h, w, 3] repeated to any larger size, so that no file holds large images."""
    (h, w), (H, W) = photographs.shape[1:3], size
    return photographs[:, np.arange(H) * h // H][:, :, np.arange(W) * w // W]
