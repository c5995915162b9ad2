"""Nearest neighbours, and the metrics that are made of them."""

import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.metrics.density_coverage import density_coverage
from ldm_jax.metrics.memorisation import memorisation
from ldm_jax.metrics.neighbours import nearest, radii, squared_distances
from ldm_jax.metrics.precision_recall import precision_recall

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 4)) + 50.0, RNG.normal(size=(40, 4)) + 50.0
APART = np.linalg.norm(X[:, None] - Y[None], axis=-1)


@pytest.mark.parametrize("block", [7, 30, 100])
def test_distances_by_blocks_are_all_distances(block):
    found = np.concatenate([squares for _, squares in squared_distances(X, Y, block)])
    np.testing.assert_allclose(np.sqrt(found), APART, rtol=1e-9)


def test_neighbours_come_nearest_first():
    found = nearest(X, Y, 3)
    np.testing.assert_array_equal(found.index, np.argsort(APART, axis=1)[:, :3])
    np.testing.assert_allclose(found.distance, np.sort(APART, axis=1)[:, :3])


def test_an_example_is_not_its_own_neighbour():
    own = np.linalg.norm(X[:, None] - X[None], axis=-1)
    expected = np.sort(own, axis=1)[:, 2]
    np.testing.assert_allclose(np.sqrt(radii(X, 2)), expected)
    np.testing.assert_allclose(nearest(X, X, 2, other=True).distance[:, 1], expected)


def test_copies_are_at_distance_zero():
    """Also where rounding would leave something of large, equal numbers."""
    copies = np.tile(RNG.normal(1e4, 1.0, (5, 3)).astype(np.float32), (4, 1))
    assert (radii(copies, 3) == 0).all()
    assert precision_recall(copies, copies) == (1.0, 1.0)


# Precision, recall, density, coverage


def test_equal_sets_are_real_and_whole():
    assert precision_recall(X, X) == (1.0, 1.0)
    found = density_coverage(X, X)
    assert found.density == pytest.approx(1.0)
    assert found.coverage == 1.0


def test_distant_sets_have_nothing_in_common():
    assert precision_recall(X, X + 100.0) == (0.0, 0.0)
    assert density_coverage(X, X + 100.0) == (0.0, 0.0)


def test_one_mode_of_two_is_precise_and_half_covered():
    modes = np.concatenate([X, X + 100.0])
    found, samples = precision_recall(X, modes), density_coverage(X, modes)
    assert found == (1.0, 0.5)
    assert samples.coverage == 0.5


def test_an_outlier_among_samples_raises_recall_and_not_coverage():
    samples = np.concatenate([X[:5], X[:1] + 1000.0, X[:1] - 1000.0])
    assert precision_recall(samples, X).recall == 1.0
    assert density_coverage(samples, X).coverage < 0.9


def test_order_does_not_matter():
    mixed = RNG.permutation(X), RNG.permutation(Y)
    assert precision_recall(*mixed) == precision_recall(X, Y)
    assert density_coverage(*mixed) == density_coverage(X, Y)


def test_too_few_examples_or_other_features_are_refused():
    with pytest.raises(InputError, match="3 examples have no 3-th neighbour: expected at least 4"):
        precision_recall(X[:3], Y)
    with pytest.raises(InputError, match="1 examples have no 5-th neighbour"):
        density_coverage(X, Y[:1])
    with pytest.raises(InputError, match="sets of 4 and of 3 features"):
        precision_recall(X, Y[:, :3])
    with pytest.raises(InputError, match="k is 50: expected 1 to 40"):
        nearest(X, Y, 50)


# Memorisation


def test_copies_are_found_and_new_draws_pass():
    training = RNG.normal(size=(400, 3))
    copies = training[:50] + 1e-6 * RNG.normal(size=(50, 3))
    found = memorisation(copies, training)
    np.testing.assert_array_equal(found.index[:, 0], np.arange(50))
    assert found.authenticity == 0.0
    assert found.ratio.max() < 1e-2
    assert 0.3 < memorisation(RNG.normal(size=(200, 3)), training).authenticity < 0.7


def test_the_ratio_is_to_the_neighbours_own_neighbour():
    training = np.array([[0.0], [4.0], [100.0]])
    found = memorisation(np.array([[1.0], [90.0]]), training, k=1)
    np.testing.assert_allclose(found.ratio, [1 / 4, 10 / 96])
    np.testing.assert_array_equal(found.index, [[0], [2]])


def test_memorisation_needs_training_examples():
    with pytest.raises(InputError, match="1 training examples: expected at least 2"):
        memorisation(X, Y[:1])
