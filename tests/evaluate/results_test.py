"""What is written of results, and what is not."""

import math

import pytest

from ldm_jax.errors import InputError
from ldm_jax.evaluate.results import (
    check_own,
    claim,
    count_of,
    finite,
    known,
    number,
    scored,
    write_json,
)


@pytest.mark.parametrize(
    ("result", "name"),
    [
        ({"PSNR": math.nan}, "PSNR is nan"),
        ({"metrics": {"KID": {"mean": 1.0, "std": math.inf}}}, "metrics, KID, std is inf"),
        ({"a": [1.0, (2.0, -math.inf)]}, "a is -inf"),
    ],
)
def test_what_is_not_finite_is_named_and_not_written(tmp_path, result, name):
    with pytest.raises(FloatingPointError, match=name):
        write_json(tmp_path / "out" / "scores.json", result)
    assert not list(tmp_path.iterdir())
    finite({"a": [1.0, None, "nan", {"b": 2}], 3: True})


def test_shares_are_not_printed_where_one_is_none(tmp_path, capsys):
    with pytest.raises(FloatingPointError, match="scores, iou is nan"):
        scored(tmp_path, {"pixels": 0.5, "iou": math.nan}, {"pixels": 0.5, "iou": 0.1}, "by chance")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("report", [None, "{", "[1]", '{"request": {}}', "7"])
@pytest.mark.parametrize("name", ["report.json", "terms.csv"])
def test_files_of_others_are_not_written_over(tmp_path, report, name):
    (tmp_path / name).write_text("mine")
    if report:
        (tmp_path / "report.json").write_text(report)
    with pytest.raises(InputError, match="which this evaluation has not written"):
        check_own(tmp_path, "report.json", "bound", "terms.csv")
    (tmp_path / "report.json").write_text('{"bound": 1}')
    check_own(tmp_path, "report.json", "bound", "terms.csv")
    check_own(tmp_path / "new", "report.json", "bound", "terms.csv")


def test_an_evaluation_that_was_stopped_starts_again_in_its_own_folder(tmp_path):
    claim(tmp_path, "retrieval", "queries.npy")
    (tmp_path / "queries.npy").write_text("half of an evaluation")
    claim(tmp_path, "retrieval", "queries.npy")
    with pytest.raises(InputError, match=r"has 'evaluation.json', which this evaluation has not"):
        claim(tmp_path, "hints", "queries.npy")
    (tmp_path / "evaluation.json").unlink()
    with pytest.raises(InputError, match=r"has 'queries.npy', which this evaluation has not"):
        claim(tmp_path, "retrieval", "queries.npy")
    assert (tmp_path / "queries.npy").read_text() == "half of an evaluation"


def test_how_many_are_measured():
    assert count_of(None, 5, "x") == 5
    assert count_of(3, 5, "x", least=2) == 3
    for asked, available, message in (
        (None, 0, "the images of x are 0: expected at least 2"),
        (None, 1, "the images of x are 1: expected at least 2"),
        (1, 5, "--num is 1: expected 2 to 5, the images of x"),
        (6, 5, "--num is 6: expected 2 to 5"),
    ):
        with pytest.raises(InputError, match=message):
            count_of(asked, available, "x", least=2)


def test_the_psnr_of_equal_images_is_infinite_and_of_none_is_none():
    assert (known(math.inf), known(None), known(2)) == (None, None, 2.0)
    assert math.isnan(known(math.nan))
    assert (number(None, ".2f"), number(3.0, ".2f")) == ("infinite", "3.00")
