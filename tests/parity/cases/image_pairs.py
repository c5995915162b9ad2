"""Pairs of images for metrics that compare them, by formula."""

import numpy as np

from tests.parity.cases import drawn

SHAPE = (24, 31, 3)


def pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> (image, reconstruction), each float64 [H, W, 3] in [-1, 1]."""
    y, x, c = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    waves = 0.6 * np.sin(x / 3 + c) * np.cos(y / 4 - c) + 0.3
    steps = np.where((x // 5 + y // 7 + c) % 2, 0.9, -0.7)
    noise = drawn.normal("noise", SHAPE).astype(np.float64)
    blurred = (steps + np.roll(steps, 1, 0) + np.roll(steps, 1, 1) + np.roll(steps, 2, 1)) / 4
    found = {
        "faint noise": (waves, waves + 0.01 * noise),
        "noise": (steps, steps + 0.2 * noise),
        "blur": (steps, blurred),
        "darker": (waves, 0.7 * waves - 0.3),
        "inverted": (steps, -steps),
        "flat": (np.full(SHAPE, 0.1), np.full(SHAPE, 0.15)),
    }
    return {name: (a.clip(-1, 1), b.clip(-1, 1)) for name, (a, b) in found.items()}
