"""dlib's face network against face-api's numbers, made by `make/dlib_face.mjs`."""

from tests.parity import compare
from tests.parity.cases import dlib_face


def test_embeddings_are_face_apis(tmp_path):
    dlib_face.write(tmp_path)
    ((_, relative),) = compare.measured(dlib_face.pairs(tmp_path)).values()
    assert relative < 1e-5
