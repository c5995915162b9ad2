"""A small prior of unCLIP, and its inputs. Words and numbers alone."""

import numpy as np

from tests.parity.cases import drawn

HEADS, HEAD_DIM, LAYERS, EMBEDDING, LENGTH = 4, 8, 2, 24, 9


def inputs() -> dict[str, np.ndarray]:
    """Two captions, one of them padded, for a noised embedding each, at two timesteps."""
    shapes = {"x": (2, EMBEDDING), "pooled": (2, EMBEDDING), "tokens": (2, LENGTH, EMBEDDING)}
    mask = np.ones((2, LENGTH), bool)
    mask[1, 4:] = False
    found = {name: drawn.normal(f"prior.{name}", shape) for name, shape in shapes.items()}
    return found | {"mask": mask, "t": np.array([3, 700], np.int32)}
