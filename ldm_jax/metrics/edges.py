"""How far the edges of images are those that they should have."""

import numpy as np
from scipy.ndimage import maximum_filter

from ldm_jax.data.hints import edges


def f1(images: np.ndarray, wanted: np.ndarray, tolerance: int = 1) -> float:
    """The harmonic mean of precision and recall of edges, over all images (Martin et al. 2004).

    An edge counts as found where there is one within `tolerance` pixels.

    Args:
        images: uint8 [N, H, W, 3].
        wanted: [N, H, W, 3], white where there are edges, 0 to 1.
    """
    near = (1, 2 * tolerance + 1, 2 * tolerance + 1)
    there = np.stack([edges(image)[..., 0] > 0.5 for image in images])
    given = wanted[..., 0] > 0.5
    hits = np.sum(there & maximum_filter(given, near)), np.sum(given & maximum_filter(there, near))
    precision, recall = hits[0] / max(np.sum(there), 1), hits[1] / max(np.sum(given), 1)
    return float(2.0 * precision * recall / max(precision + recall, 1e-12))
