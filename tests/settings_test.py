"""Text files that users name are read in UTF-8, with or without a byte-order mark."""

import pytest

from ldm_jax.errors import InputError
from ldm_jax.evaluate import zero_shot
from ldm_jax.runs.names import class_names_of
from ldm_jax.settings import read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_lists_of_classes_are_the_same_with_a_mark(tmp_path, encoding):
    (tmp_path / "classes.txt").write_text("stra\xdfe\ncat\n", encoding)
    assert class_names_of(tmp_path) == ("stra\xdfe", "cat")
    listed = zero_shot._lines((str(tmp_path / "classes.txt"),), "--classes")
    assert listed == ("stra\xdfe", "cat")


def test_what_is_no_such_text_is_refused_by_name(tmp_path):
    (tmp_path / "classes.txt").write_text("stra\xdfe\n", "latin-1")
    with pytest.raises(InputError, match=r"classes\.txt' cannot be read .*: expected .*UTF-8"):
        class_names_of(tmp_path)
    for place in (tmp_path, tmp_path / "none.txt"):
        with pytest.raises(InputError, match=r"--classes '.*' cannot be read"):
            read_text(place, "--classes")
