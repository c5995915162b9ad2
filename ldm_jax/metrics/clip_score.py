"""CLIP score: the agreement of an image and its caption by CLIP (Hessel et al. 2021)."""

import numpy as np

from ldm_jax.errors import InputError


def clip_score(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """100 max(cos(image, text), 0) of CLIP's embeddings [N, d] twice -> [N].

    The paper scales by 2.5 instead (its eq. 1), which is this divided by 40.

    Raises:
        InputError: not one text an image, or embeddings of different length.
    """
    if np.shape(images) != np.shape(texts):
        raise InputError(
            f"image embeddings {np.shape(images)} and text embeddings {np.shape(texts)}: expected "
            "one text an image, from the two encoders of one model"
        )
    x, y = (np.asarray(z, np.float64) for z in (images, texts))
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return 100.0 * np.maximum((x * y).sum(axis=1) / lengths, 0.0)
