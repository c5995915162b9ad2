"""Weights in files of either kind."""

import mmap
import zipfile

import ml_dtypes
import numpy as np
import pytest

from ldm_jax.checkpoint.imported import mapping_of
from ldm_jax.errors import InputError
from ldm_jax.weights.formats.files import read_weights, write_weights
from tests.support.torch_files import WRITERS

WEIGHTS = {
    "a": np.arange(6, dtype="f").reshape(2, 3),
    "half": np.asarray([0.5, -2], np.float16),
    "brain": np.asarray([0.5, 3], ml_dtypes.bfloat16),
    "scalar": np.asarray(7, "i8"),
    "empty": np.zeros((0, 2), "f"),
}


def assert_equal(read, expected):
    assert set(read) == set(expected)
    for name, w in expected.items():
        assert (read[name].dtype, read[name].shape) == (w.dtype, w.shape)
        np.testing.assert_array_equal(read[name], w)


def test_what_is_written_is_read(tmp_path):
    write_weights(tmp_path / "w.safetensors", WEIGHTS)
    assert_equal(read_weights(tmp_path / "w.safetensors"), WEIGHTS)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_the_kind_of_file_is_recognised_from_its_content(tmp_path, write):
    weights = {name: w for name, w in WEIGHTS.items() if w.size}
    assert_equal(read_weights(write(tmp_path / "w.safetensors", {"state_dict": weights})), weights)
    write_weights(tmp_path / "w.pth", weights)
    assert_equal(read_weights(tmp_path / "w.pth"), weights)


def test_who_may_read_other_files_may_read_it(tmp_path):
    (tmp_path / "other").touch()
    write_weights(tmp_path / "w.safetensors", WEIGHTS)
    modes = [(tmp_path / name).stat().st_mode for name in ("other", "w.safetensors")]
    assert modes[0] == modes[1]


def test_a_view_is_written_in_its_own_order(tmp_path):
    a = WEIGHTS["a"]
    views = {"transposed": a.T, "part": a[:, 1:], "backwards": a[::-1], "big": a.astype(">f4")}
    write_weights(tmp_path / "w.safetensors", views)
    read = read_weights(tmp_path / "w.safetensors")
    for name, view in views.items():
        np.testing.assert_array_equal(read[name], view)


def test_pytorchs_files_are_written_too(tmp_path):
    """As PyTorch loads them, which `torch_file_test.py` tells."""
    numbers = {"int": np.asarray([3], "i4"), "transposed": WEIGHTS["a"].T}
    write_weights(tmp_path / "w.ckpt", WEIGHTS | numbers)
    with zipfile.ZipFile(tmp_path / "w.ckpt") as archive:
        assert archive.testzip() is None
        assert {"archive/data.pkl", "archive/version"} <= set(archive.namelist())
    assert_equal(read_weights(tmp_path / "w.ckpt"), WEIGHTS | numbers)


@pytest.mark.parametrize("file", ["w.safetensors", "w.ckpt"])
def test_weights_stay_in_their_file_until_they_are_used(tmp_path, file):
    write_weights(tmp_path / file, WEIGHTS)
    view = read_weights(tmp_path / file)["a"].T[1:]
    assert isinstance(mapping_of(view), mmap.mmap)
    assert mapping_of(view.copy()) is None


def test_forms_are_requested_before_the_weights(tmp_path):
    asked = []

    class Weights(dict):
        def __getitem__(self, name):
            asked.append(name)
            return super().__getitem__(name)

    for file in ("w.safetensors", "w.pth"):
        asked.clear()
        write_weights(
            tmp_path / file,
            Weights(a=np.ones(2), b=np.zeros(3)),
            {"a": np.empty(2), "b": np.empty(3)},
        )
        assert asked == ["a", "b"]


def test_a_name_that_is_not_there(tmp_path):
    write_weights(tmp_path / "w.safetensors", WEIGHTS)
    read = read_weights(tmp_path / "w.safetensors")
    assert len(read) == len(WEIGHTS)
    assert "b" not in read
    with pytest.raises(KeyError):
        read["b"]


def test_a_failed_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, WEIGHTS)
    with pytest.raises(Exception, match="object"):
        write_weights(path, {"a": np.asarray(["text", None])})
    assert_equal(read_weights(path), WEIGHTS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_file_cut_short(tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, WEIGHTS)
    content = path.read_bytes()
    for size in range(0, len(content), 17):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"w\.safetensors"):
            read_weights(path)


def test_a_missing_file():
    with pytest.raises(InputError, match=r"w\.pth is no file: expected weights"):
        read_weights("w.pth")
