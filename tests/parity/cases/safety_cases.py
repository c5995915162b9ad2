"""The safety checker that is compared: a small one, and what it is shown.

Numbers alone, so that the side that has no JAX can read them.
"""

import numpy as np

from tests.parity.cases import drawn

SIZES = (32, 2, 4, 12, 7, 28)  # channels, layers, heads, dim, patch, size
COUNT = 12  # images


def images() -> np.ndarray:
    """uint8 [COUNT, 40, 52, 3]: noise of unlike brightness and colour."""
    noise = drawn.normal("shown to a safety checker", (COUNT, 40, 52, 3))
    tint = drawn.normal("their colours", (COUNT, 1, 1, 3))
    return np.uint8(np.clip(128 + 40 * noise + 60 * tint, 0, 255))


def state(shapes) -> dict[str, np.ndarray]:
    """Weights by name; of limits about as many are passed as not."""
    found = drawn.state({name: shape for name, shape in shapes.items() if "_embeds" not in name})
    for name, shape in shapes.items():
        if name.endswith("embeds"):
            found[name] = drawn.normal(name, tuple(shape))
        if name.endswith("embeds_weights"):
            found[name] = 0.45 + 0.2 * drawn.normal(name, tuple(shape))
    return found
