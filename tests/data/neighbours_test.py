"""Exact search for nearest neighbours."""

import numpy as np
import pytest

from ldm_jax.data import neighbours
from ldm_jax.errors import InputError

ROWS = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32)


def test_the_nearest_are_those_of_the_greatest_cosine():
    queries = ROWS[:5] * 3 + 0.01
    found = neighbours.nearest(ROWS, queries, 4)
    cosine = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    ).T
    np.testing.assert_array_equal(found, np.argsort(-cosine, axis=1)[:, :4])
    np.testing.assert_array_equal(found[:, 0], np.arange(5))


def test_no_row_is_its_own_neighbour():
    found = neighbours.nearest_others(ROWS, 3)
    assert found.shape == (3000, 3)
    assert not np.any(found == np.arange(3000)[:, None])
    np.testing.assert_array_equal(found[:10], neighbours.nearest(ROWS, ROWS[:10], 4)[:, 1:])


def test_equal_rows_are_each_others_neighbours():
    assert neighbours.nearest_others(np.ones((6, 2), np.float32), 2).shape == (6, 2)


def test_what_is_no_table_of_embeddings_is_refused(tmp_path):
    np.save(tmp_path / "wide.npy", ROWS)
    np.save(tmp_path / "whole.npy", np.zeros((3, 4), int))
    (tmp_path / "text.npy").write_text("none")
    with (tmp_path / "several.npy").open("wb") as file:
        np.savez(file, ROWS)
    np.save(tmp_path / "nan.npy", np.array([[1, 2, 3, 4], [0, np.nan, 0, 0]], np.float32))
    for name, said in [
        ("none.npy", "does not exist"),
        ("wide.npy", r"float32 \[3000, 8\]: expected floats \[N, 4\]"),
        ("whole.npy", "int64"),
        ("text.npy", r"text\.npy' cannot be read .*: expected a \.npy of numbers"),
        ("several.npy", r"\(it holds several arrays\): expected a \.npy of numbers"),
        ("nan.npy", "1 rows with NaN"),
    ]:
        with pytest.raises(InputError, match=said):
            neighbours.load(str(tmp_path / name), 4, "embeddings")
    assert neighbours.load(str(tmp_path / "wide.npy"), 8, "embeddings").shape == (3000, 8)
