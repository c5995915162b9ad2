"""Text files that users name are read in UTF-8, with or without a byte-order mark."""

from pathlib import Path

import pytest

from ldm_jax.convert.chosen import convert
from ldm_jax.data.given import load_rows
from ldm_jax.errors import InputError
from ldm_jax.evaluate import zero_shot
from ldm_jax.runs.names import class_names_of
from ldm_jax.settings import check_folder, read_text
from ldm_jax.tools.ema import Options, average


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_lists_of_classes_are_the_same_with_a_mark(tmp_path, encoding):
    (tmp_path / "classes.txt").write_text("stra\xdfe\ncat\n", encoding)
    assert class_names_of(tmp_path) == ("stra\xdfe", "cat")
    listed = zero_shot._lines((str(tmp_path / "classes.txt"),), "--classes")
    assert listed == ("stra\xdfe", "cat")


def test_numbers_in_json_are_the_same_with_a_mark(tmp_path):
    (tmp_path / "face.json").write_text("[0.5, 1]", "utf-8-sig")
    rows = load_rows(str(tmp_path / "face.json"), "--face", (2,), "an embedding")
    assert rows.tolist() == [[0.5, 1.0]]


@pytest.mark.parametrize(
    "write",
    [
        lambda place: check_folder(Path(place), "--out"),
        lambda place: average(Path("run"), Path(place), Options()),
        lambda place: convert(Path("run"), Path(place)),
    ],
)
@pytest.mark.parametrize("place", ["gs://bucket", "s3://bucket/folder"])
def test_an_address_is_no_folder_of_any_tool(write, place):
    with pytest.raises(InputError, match="' is an address: expected a folder of this machine"):
        write(place)


def test_what_is_no_such_text_is_refused_by_name(tmp_path):
    (tmp_path / "classes.txt").write_text("stra\xdfe\n", "latin-1")
    with pytest.raises(InputError, match=r"classes\.txt' cannot be read .*: expected .*UTF-8"):
        class_names_of(tmp_path)
    for place in (tmp_path, tmp_path / "none.txt"):
        with pytest.raises(InputError, match=r"--classes '.*' cannot be read"):
            read_text(place, "--classes")
