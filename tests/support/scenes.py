"""Images and class maps of drawn scenes."""

import numpy as np

from ldm_jax.data import drawing


def draw(scene: drawing.Scene, size: int, offsets: np.ndarray | None = None) -> np.ndarray:
    return drawing.paint(drawing.layers(scene, size, offsets), size)


def segment(scene: drawing.Scene, size: int, offsets: np.ndarray | None = None) -> np.ndarray:
    return drawing.classify(drawing.layers(scene, size, offsets), size)
