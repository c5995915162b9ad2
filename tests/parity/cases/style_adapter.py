"""A small StyleAdapter with drawn weights; for both sides."""

import numpy as np

from tests.parity.cases import drawn

SIZES = {"num_token": 3, "width": 16, "n_layes": 2, "context_dim": 8}  # so spelt
HEADS = 4
X = drawn.normal("style adapter x", (2, 5, SIZES["width"]))  # tokens of an image encoder


def state(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The weights by their names in the original."""
    return drawn.state(shapes)
