"""The square about a face that dlib's network reads."""

import numpy as np

from ldm_jax.extractors import dlib_face


def test_a_face_is_cut_so_that_eyes_and_mouth_always_lie_alike():
    y, x = np.mgrid[:200, :160]
    image = np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)  # a pixel says where it is
    points = np.array([[60, 80], [100, 80], [80, 100], [66, 120], [94, 120]])
    cut = dlib_face.aligned(image, points / (160, 200))
    assert cut.shape == (150, 150, 3)
    side = np.hypot(20, 40) / 0.45  # eyes to the mouth's middle are 0.45 of it
    left, top = 80 - 0.5 * side, (80 + 80 + 120) / 3 - 0.43 * side
    for i, j in ((10, 20), (75, 75), (140, 90)):
        expected = [left + (j + 0.5) * side / 150 - 0.5, top + (i + 0.5) * side / 150 - 0.5]
        np.testing.assert_allclose(cut[i, j, :2], expected, atol=1.5)
