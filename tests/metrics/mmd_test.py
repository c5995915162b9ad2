"""Mean discrepancies: zero on average where sets are alike, more the further they are apart."""

import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.metrics.mmd import cmmd, kid, mmd2_unbiased

RNG = np.random.default_rng(0)


def draws(n, shift=0.0):
    return RNG.normal(shift, 1.0, (n, 6)).astype(np.float32)


def test_kid_of_sets_drawn_alike_is_zero_within_its_error():
    """Whatever the size of the subsets: the estimate has no bias."""
    x, y = draws(2000), draws(2000)
    for size in (10, 100):
        found = kid(x, y, subsets=200, subset_size=size)
        assert abs(found.mean) < 4 * found.std / np.sqrt(200)


def test_distances_grow_with_the_shift():
    x = draws(300, 1.0)
    others = [draws(300, 1.0 + shift) for shift in (0.0, 0.3, 1.0, 3.0)]
    for found in (
        [kid(x, y, subsets=20, subset_size=100).mean for y in others],
        [cmmd(x, RNG.normal(1.0, 1 + n, x.shape)) for n in range(4)],
    ):
        assert found == sorted(found)


def test_the_unbiased_estimate_is_a_mean_over_pairs_of_different_examples():
    x, y = draws(4), draws(4)
    k = [a @ b.T for a, b in ((x, x), (x, y), (y, y))]
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    expected = np.mean([x[i] @ x[j] for i, j in pairs]) + np.mean([y[i] @ y[j] for i, j in pairs])
    expected -= 2 * np.mean([x[i] @ y[j] for i in range(4) for j in range(4)])
    assert mmd2_unbiased(*k) == pytest.approx(expected, rel=1e-5)


def test_cmmd_sees_directions_alone_and_no_order():
    x, y = draws(50, 1.0), draws(60, 1.0)
    assert cmmd(x, x) == 0.0
    assert abs(cmmd(x, RNG.permutation(x))) < 1e-9
    assert cmmd(x, y) == pytest.approx(cmmd(3.0 * x, 0.1 * y), rel=1e-5)
    assert cmmd(x, y) == pytest.approx(cmmd(y, x))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="subset_size is 30: expected 2 to 20"):
        kid(draws(20), draws(40), subset_size=30)
    for metric in (kid, cmmd):
        with pytest.raises(InputError, match="sets of 6 and of 5 features"):
            metric(draws(20), draws(20)[:, :5])
    with pytest.raises(InputError, match="length zero"):
        cmmd(draws(3), np.zeros((2, 6)))
