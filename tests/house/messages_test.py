"""Errors for who called a tool, whose remedy can be followed."""

import ast

import numpy as np
import pytest

from ldm_jax.conditioning.given import held_out
from ldm_jax.config import Data, LowResolution, Shapes
from ldm_jax.errors import InputError
from ldm_jax.metrics.mmd import kid
from ldm_jax.metrics.neighbours import nearest
from ldm_jax.sampling.images import Images
from ldm_jax.settings import check_within
from tests.house.source import TREES, assert_none


def messages(tree: ast.AST):
    """The texts of errors for users, with what is formatted as {}."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InputError":
            for text in (x for one in node.args for x in ast.walk(one)):
                if isinstance(text, ast.JoinedStr):
                    yield "".join(getattr(x, "value", "{}") if isinstance(x, ast.Constant) else "{}"
                                  for x in text.values)  # fmt: skip


def test_a_range_that_may_be_empty_is_checked_in_one_place():
    found = {
        f"{name}: {text}"
        for name, tree in TREES.items()
        for text in messages(tree)
        if "expected {} to {}" in text and name != "ldm_jax.settings"
    }
    assert_none("ranges", found)


@pytest.mark.parametrize(
    ("value", "most", "message"),
    [
        (1, 1, "the images of 'a' are 1: expected at least 2"),
        (2, 0, "the images of 'a' are 0: expected at least 2"),
        (1, 5, "--num is 1: expected 2 to 5, the images of 'a'"),
        (6, 5, "--num is 6: expected 2 to 5, the images of 'a'"),
    ],
)
def test_a_range_is_never_from_more_to_less(value, most, message):
    with pytest.raises(InputError) as found:
        check_within(value, "--num", 2, most, "the images of 'a'")
    assert str(found.value) == message


def test_measures_say_how_many_examples_are_missing():
    one = np.zeros((1, 3))
    with pytest.raises(InputError, match="examples in the smaller set are 1: expected at least 2"):
        kid(one, one)
    with pytest.raises(InputError, match="the other examples are 0: expected at least 1"):
        nearest(one, one, other=True)


def test_a_count_is_named_as_it_was_given():
    data = Data("shapes", image_size=32, shapes=Shapes(num_train=2, num_test=2))
    for flag in ("--from-data", "--num"):
        with pytest.raises(InputError, match=f"{flag} is 3: expected 1 to 2, the examples of"):
            held_out(data, LowResolution(), ("low_resolution",), 3, flag)


def test_seeds_are_left_for_any_number_of_images_that_is_taken():
    with pytest.raises(InputError, match=f"--num is {2**32}: expected at most {2**31}"):
        Images(num=2**32, batch_size=1).check(None, None)
    with pytest.raises(InputError, match=f"--seed is -1: expected 0 to {2**31 - 1}"):
        Images(num=2**31, batch_size=1, seed=-1).check(None, None)


def test_data_of_a_run_are_found_from_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "else").mkdir()
    run = tmp_path / "runs" / "demo"
    monkeypatch.chdir(tmp_path / "else")
    assert Data("photos").seen_from("../runs/demo").path == str(tmp_path / "photos")
    for path in (None, "shapes", "tfds:mnist", str(tmp_path / "photos"), "lost", "~/lost"):
        assert Data(path).seen_from(run).path == path
    monkeypatch.chdir(tmp_path)
    assert Data("photos").seen_from(run).path == "photos"
