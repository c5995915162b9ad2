"""The Frechet distance is what theory says of Gaussians."""

import numpy as np
import pytest
from scipy import linalg

from ldm_jax.errors import InputError
from ldm_jax.metrics.frechet import frechet_distance
from ldm_jax.metrics.statistics import Moments, moments

RNG = np.random.default_rng(0)


def draws(n, d):
    return RNG.normal(size=(n, d)) @ RNG.normal(size=(d, d)) + RNG.normal(size=d)


def test_a_set_is_at_distance_zero_from_itself_in_any_order():
    x = draws(100, 6)
    assert abs(frechet_distance(moments(x), moments(RNG.permutation(x)))) < 1e-9


def test_gaussians_of_diagonal_covariance_differ_by_their_means_and_standard_deviations():
    m, n, s, t = RNG.normal(size=(2, 5)).tolist() + RNG.uniform(0.1, 2, size=(2, 5)).tolist()
    m, n, s, t = (np.asarray(x) for x in (m, n, s, t))
    found = frechet_distance(Moments(m, np.diag(s**2)), Moments(n, np.diag(t**2)))
    assert np.isclose(found, np.sum((m - n) ** 2) + np.sum((s - t) ** 2))


def test_it_equals_the_formula_with_the_root_of_the_product():
    a, b = moments(draws(200, 4)), moments(draws(300, 4))
    root = linalg.sqrtm(a.covariance @ b.covariance).real
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance - 2 * root)
    assert np.isclose(frechet_distance(a, b), expected)


def test_fewer_examples_than_dimensions_are_no_obstacle():
    x, y = draws(5, 20), draws(4, 20)
    apart = frechet_distance(moments(x), moments(y))
    assert np.isfinite(apart)
    assert np.isclose(apart, frechet_distance(moments(y), moments(x)))
    assert abs(frechet_distance(moments(x), moments(x))) < 1e-6


def test_equal_sets_are_at_distance_zero_however_few():
    for n in (2, 5, 50):
        x = draws(n, 20)
        assert frechet_distance(moments(x), moments(x)) == 0.0
        assert abs(frechet_distance(moments(x), moments(RNG.permutation(x)))) < 1e-6


def test_singular_covariances_keep_their_formula():
    """Features that are zero in some dimensions change nothing."""
    x, y = draws(60, 5), draws(70, 5)
    padded = [np.pad(z, ((0, 0), (0, 4))) for z in (x, y)]
    found = frechet_distance(*map(moments, padded))
    assert np.isclose(found, frechet_distance(moments(x), moments(y)))


def test_features_of_different_length_are_refused():
    with pytest.raises(InputError, match="sets of 3 and of 4 features"):
        frechet_distance(moments(draws(9, 3)), moments(draws(9, 4)))


def test_one_example_has_no_covariance():
    with pytest.raises(InputError, match="expected at least 2"):
        moments(np.zeros((1, 3)))


def test_what_is_no_covariance_has_no_distance_and_none_is_negative():
    good = Moments(np.zeros(3), np.eye(3))
    for bad in (-np.eye(3), np.diag([1.0, 1.0, -0.5]), np.full((3, 3), 2.0) - np.eye(3)):
        for pair in ((Moments(np.zeros(3), bad), good), (good, Moments(np.zeros(3), bad))):
            with pytest.raises(InputError, match=r"has the eigenvalue -.*: expected none"):
                frechet_distance(*pair)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 20)).astype(np.float32)  # of fewer examples than dimensions
    for scale in (1e-7, 1e-6, 1e-5):
        near = moments(x + scale * rng.normal(size=x.shape))
        assert frechet_distance(moments(x), near) >= 0.0
