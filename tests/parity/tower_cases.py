"""The towers that are compared, small and as published, and what they are shown.

Numbers alone, so that the side that has no JAX can read them.
"""

import drawn
import numpy as np

# channels, layers, heads, dim, patch, size
CLIP = {"clip small": (32, 2, 4, 12, 7, 28)}
FULL_CLIP = {
    "clip vit_b32": (768, 12, 12, 512, 32, 224),
    "clip vit_l14": (1024, 24, 16, 768, 14, 224),
}
# channels, layers, heads, patch, patches a side that positions are for, size
DINOV2 = {"dinov2 small": (32, 2, 4, 7, 6, 28), "dinov2 small, as trained": (32, 2, 4, 7, 4, 28)}
FULL_DINOV2 = {"dinov2 vit_l14": (1024, 24, 16, 14, 37, 224)}


def images(size: int) -> np.ndarray:
    """[2, size, size, 3] float32, about as large as normalised pictures."""
    return drawn.normal(f"pictures {size}", (2, size, size, 3))
