"""CLIP score is an angle."""

import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.metrics.clip_score import clip_score


def test_it_is_the_cosine_and_never_negative():
    images = np.array([[3.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    texts = np.array([[5.0, 0.0], [1.0, 0.0], [-1.0, 0.1]])
    np.testing.assert_allclose(clip_score(images, texts), [100.0, 100 / np.sqrt(2), 0.0])


def test_each_image_has_one_text_of_the_same_model():
    with pytest.raises(InputError, match="expected one text an image"):
        clip_score(np.ones((3, 4)), np.ones((3, 5)))
