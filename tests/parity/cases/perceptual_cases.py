"""LPIPS as both sides of the comparison run it: the images and the weights."""

import numpy as np

from ldm_jax.weights.names import lpips
from ldm_jax.weights.table import shapes
from tests.parity.cases import drawn

NETWORKS = tuple(lpips.FILES)
PUBLISHED = ("vgg_shift_tolerant", "alex_shift_tolerant")  # networks whose weights pip installs
SIZE = (33, 36)  # odd and even, so that every rounding of a half is seen


def images(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """x and y [B, 3, H, W]: noise, and a little more noise; the second pair differs more."""
    shape = (2, 3, *size)
    x, noise = drawn.normal("x", shape), drawn.normal("noise", shape)
    amount = np.asarray([0.2, 0.8], np.float32).reshape(2, 1, 1, 1)
    return np.tanh(x), np.tanh(x + amount * noise)


def cotangent() -> np.ndarray:
    """The loss is the sum of the distances [B] times these."""
    return np.asarray([1.0, -0.7], np.float32)


def state(network: str) -> dict[str, np.ndarray]:
    """Drawn weights under the names inside LPIPS; heads are not negative, as the published ones."""
    drawn_state = drawn.state(shapes(lpips.table(network, whole=True)), f"{network}.")
    return {key: np.abs(w) if key.startswith("lin") else w for key, w in drawn_state.items()}
