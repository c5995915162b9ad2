"""Sums of features add up to the statistics of all of them."""

import zipfile

import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.metrics.frechet import frechet_distance
from ldm_jax.metrics.statistics import Running, merge, moments, sums
from ldm_jax.metrics.statistics_file import read_statistics

X = np.random.default_rng(0).normal(3.0, 2.0, (97, 7)).astype(np.float32)


def test_sums_give_numpys_moments():
    found, x = moments(sums(X)), X.astype(np.float64)
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(found.covariance, np.cov(x, rowvar=False), rtol=1e-11)


@pytest.mark.parametrize("bounds", [[50], [1, 2, 3], [10, 20, 30, 40, 50, 60, 70, 80]])
def test_parts_in_any_order_merge_into_the_whole(bounds):
    parts = [sums(part) for part in np.split(X, bounds)]
    for order in (parts, parts[::-1]):
        found, whole = merge(order), sums(X)
        assert found.count == whole.count
        np.testing.assert_allclose(found.total, whole.total, rtol=1e-14)
        np.testing.assert_allclose(found.outer, whole.outer, rtol=1e-13)
        assert frechet_distance(moments(found), moments(whole)) < 1e-9


@pytest.mark.parametrize("rows", [1, 20, 1000])
def test_batches_one_after_the_other_are_the_whole(rows):
    running, whole = Running(rows), sums(X)
    for part in np.split(X, [5, 30, 31, 90]):
        running.add(part)
    found = running.result()
    assert found.count == whole.count
    np.testing.assert_allclose(found.total, whole.total, rtol=1e-14)
    np.testing.assert_allclose(found.outer, whole.outer, rtol=1e-13)
    with pytest.raises(InputError, match="no features"):
        Running().result()


def test_products_of_whole_numbers_merge_without_any_difference():
    x = np.random.default_rng(1).integers(0, 1000, (64, 5)).astype(np.float32)
    parts, whole = merge(sums(part) for part in np.split(x, 8)), sums(x)
    np.testing.assert_array_equal(parts.outer, whole.outer)


def test_one_example_has_no_covariance_and_two_have():
    with pytest.raises(InputError, match="1 examples of features: expected at least 2"):
        moments(sums(X[:1]))
    assert np.linalg.matrix_rank(moments(sums(X[:2])).covariance) == 1


def test_what_does_not_go_together_or_is_no_number_is_refused():
    with pytest.raises(
        InputError, match="sets of 7 and of 3 features: expected both from the same"
    ):
        merge([sums(X), sums(X[:, :3])])
    broken = X.copy()
    broken[[5, 9], 2] = np.nan
    with pytest.raises(InputError, match="2 of 97 examples are not finite, the first is number 5"):
        sums(broken)
    with pytest.raises(InputError, match="expected"):
        sums(X[0])


def test_a_member_of_an_npz_that_is_no_array_is_named(tmp_path):
    np.savez(tmp_path / "sums.npz", mu=np.zeros(3))
    with zipfile.ZipFile(tmp_path / "sums.npz", "a") as file:
        file.writestr("sigma.npy", b"none")
    with pytest.raises(InputError, match=r"cannot be read \(sigma is no array\)"):
        read_statistics(tmp_path / "sums.npz")
