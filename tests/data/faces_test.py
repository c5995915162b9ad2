"""Faces in metadata: embeddings and points, which move with the image."""

import json

import numpy as np
import pytest
from PIL import Image

from ldm_jax.data import faces, pipeline
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError

POINTS = np.float32([[0.4, 0.3], [0.6, 0.3], [0.55, 0.5], [0.45, 0.7], [0.6, 0.7]])


def folder(tmp_path, **changes):
    """One image, 40 wide and 20 high, with its face."""
    Image.new("RGB", (40, 20)).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.arange(3.0, dtype=np.float32))
    row = {"file_name": "a.png", "face": "a.npy", "points": POINTS.tolist(), **changes}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    data = Data(path=str(tmp_path), image_size=20, batch_size=1)
    return data, pipeline.open_source(data)[0]


def test_an_example_has_its_embedding_and_its_points(tmp_path):
    data, source = folder(tmp_path)
    assert source.left_out == ""
    (example,) = pipeline.in_order(data, source, range(1), ("face", "points"))
    np.testing.assert_array_equal(example["face"], [0, 1, 2])
    # half of the width is cut off, the middle stays
    expected = (POINTS - (0.5, 0)) * (2, 1) + (0.5, 0)
    np.testing.assert_allclose(example["points"], expected, atol=1e-6)


def test_in_a_mirrored_image_left_is_right():
    mirrored = faces.flip(POINTS)
    assert mirrored[0, 0] < mirrored[1, 0]
    np.testing.assert_allclose(mirrored[[1, 0, 2, 4, 3]], POINTS * (-1, 1) + (1, 0), atol=1e-6)
    np.testing.assert_allclose(faces.flip(mirrored), POINTS, atol=1e-6)


@pytest.mark.parametrize(
    ("field", "value", "fragment"),
    [
        ("points", [[0, 0]] * 4, "has points [[0, 0], [0, 0], [0, 0], [0, 0]]: expected"),
        ("points", [[20, 30]] * 5, "in parts of the image"),
        ("points", "eyes", "has points eyes"),
        ("face", "b.npy", "names 'b.npy', which is no file there"),
        ("face", None, "has no field 'face': expected"),
    ],
)
def test_what_is_no_face_is_named_with_its_line(field, value, fragment, tmp_path):
    data, source = folder(tmp_path, **{field: value})
    with pytest.raises(InputError, match=r"metadata\.jsonl line 1") as error:
        pipeline.check_batch(data, source, ("face", "points"))
    assert fragment in str(error.value)


def test_an_embedding_is_one_row(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"is float32 \(2, 3\): expected one row"):
        faces.decode(tmp_path / "a.npy")
