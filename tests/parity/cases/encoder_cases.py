"""The encoders that are compared, small and as published, and their inputs.

Numbers alone, so that the side that has no JAX can read them.
"""

import numpy as np

from tests.parity.cases import drawn

# channels, layers, heads, dim, patch, size
CLIP = {"clip small": (32, 2, 4, 12, 7, 28), "openclip small": (32, 2, 4, 12, 7, 28)}
FULL_CLIP = {
    "clip vit_b32": (768, 12, 12, 512, 32, 224),
    "clip vit_b16": (768, 12, 12, 512, 16, 224),
    "clip vit_l14": (1024, 24, 16, 768, 14, 224),
    "clip vit_l14_336": (1024, 24, 16, 768, 14, 336),
    "openclip vit_h14": (1280, 32, 16, 1024, 14, 224),
}
# channels, layers, heads, patch, patches a side that positions are for, size
DINOV2 = {"dinov2 small": (32, 2, 4, 7, 6, 28), "dinov2 small, as trained": (32, 2, 4, 7, 4, 28)}
FULL_DINOV2 = {"dinov2 vit_l14": (1024, 24, 16, 14, 37, 224)}
# channels, layers, heads, dim, whose activation, vocabulary; of 77 tokens, small 16
TEXT = {
    "clip text small": (24, 3, 4, 12, "openai", 100),
    "openclip text small": (24, 3, 4, 12, "openclip", 100),
}
FULL_TEXT = {
    "clip text vit_l14": (768, 12, 12, 768, "openai", 49408),
    "openclip text vit_h14": (1024, 24, 16, 1024, "openclip", 49408),
}
ANSWERS = ("last", "penultimate", "embedding")  # of a text encoder


def weights(name: str) -> str:
    """The activation of an image encoder."""
    return "openclip" if name.startswith("openclip") else "openai"


def length(pieces: int) -> int:
    """Tokens of a caption."""
    return 16 if pieces == 100 else 77


def tokens(pieces: int) -> np.ndarray:
    """Two captions of unlike length, filled up with the mark of their end, int32 [2, n]."""
    n = length(pieces)
    drawn_ = np.random.default_rng(pieces).integers(0, pieces - 2, (2, n), np.int32)
    drawn_[:, 0] = pieces - 2
    for row, words in zip(drawn_, (n // 3, n - 2), strict=True):
        row[1 + words :] = pieces - 1
    return drawn_


def classes(pieces: int) -> np.ndarray:
    """Three classes, of each of which two captions speak, int32 [3, 2, n]."""
    said = np.stack([tokens(pieces)] * 3)
    said[:, :, 1:4] = np.random.default_rng(0).integers(0, pieces - 2, (3, 2, 3))
    return said


def images(size: int) -> np.ndarray:
    """[2, size, size, 3] float32, about as large as normalised images."""
    return drawn.normal(f"pictures {size}", (2, size, size, 3))
