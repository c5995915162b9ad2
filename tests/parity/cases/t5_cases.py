"""A small T5, whose heads are wider together than its tokens. Words and numbers alone."""

import numpy as np

from tests.parity.cases import drawn

DIM, LAYERS, HEADS, HEAD_DIM, FF_DIM, PIECES = 24, 2, 4, 8, 40, 50
LENGTH = 150  # so that the farthest bucket of relative positions has several


def tokens() -> np.ndarray:
    """Two captions, int32 [2, LENGTH]; the second is filled up with 0."""
    found = np.random.default_rng(0).integers(1, PIECES, (2, LENGTH), np.int32)
    found[1, 20:] = 0
    return found


def state(shapes) -> dict[str, np.ndarray]:
    """Drawn weights; those of queries are divided by sqrt(d), since scores are not."""
    found = drawn.state(shapes)
    scale = np.float32(HEAD_DIM**-0.5)
    return {k: w * scale if k.endswith("SelfAttention.q.weight") else w for k, w in found.items()}
