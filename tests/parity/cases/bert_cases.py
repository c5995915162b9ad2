"""A small BERT, and the captions by which the published one is compared.

Words and numbers alone, so that the side that has no JAX can read them.
"""

import numpy as np

LAYERS, HEADS, DIM, FF_DIM, POSITIONS, PIECES = 2, 4, 24, 40, 12, 50
LENGTH = 10  # of which captions of 9, 4 and 2 tokens are filled up with 0
FULL_LENGTH = 64

ADJECTIVES = ("", "red", "tiny", "half-eaten", "unmistakably Mediterranean")
THINGS = ("apple", "woman: light skin tone, curly hair", "naïve café über Straße", "houses & co.")
PLACES = ("", "on a table", "in front of a crowd of people who are waiting for the last tram home")


def tokens() -> np.ndarray:
    """Three captions of unlike length, int32 [3, LENGTH]."""
    found = np.random.default_rng(0).integers(1, PIECES, (3, LENGTH), np.int32)
    for row, words in zip(found, (9, 4, 2), strict=True):
        row[words:] = 0
    return found


def captions() -> list[str]:
    """60 captions, of 3 to 33 tokens, and some that are empty, emoji, over-long or not English."""
    each = [f"{a} {t} {p}".strip() for a in ADJECTIVES for t in THINGS for p in PLACES]
    return [*each, "", "🍎 🚗", "黄色いリンゴ", "a " * 100, "supercalifragilisticexpialidocious!!"]
