"""Metrics of the same features equal torch-fidelity's (see `make/feature_metrics.py`)."""

import numpy as np
import pytest

from ldm_jax.metrics.density_coverage import density_coverage
from ldm_jax.metrics.frechet import frechet_distance
from ldm_jax.metrics.inception_score import inception_score
from ldm_jax.metrics.mmd import cmmd, kid
from ldm_jax.metrics.precision_recall import precision_recall
from ldm_jax.metrics.statistics import merge, moments, sums
from tests.parity.cases import feature_sets as sets
from tests.parity.folders import ARRAYS


@pytest.fixture(scope="module")
def ours():
    samples, real = sets.features()
    cubic = kid(samples, real, subsets=sets.SUBSETS, subset_size=sets.SUBSET_SIZE)
    score = inception_score(sets.logits(), splits=sets.SPLITS)
    inside, covered = precision_recall(samples, real), density_coverage(samples, real)
    streamed = [moments(merge(sums(part) for part in np.split(x, 4))) for x in (samples, real)]
    return {
        "fid": frechet_distance(*streamed),
        "kid mean": cubic.mean,
        "kid std": cubic.std,
        "isc mean": score.mean,
        "isc std": score.std,
        "isc in order": inception_score(sets.logits(), splits=sets.SPLITS, seed=None).mean,
        "precision": inside.precision,
        "recall": inside.recall,
        "density": covered.density,
        "coverage": covered.coverage,
        "cmmd": cmmd(samples, real),
    }


with np.load(ARRAYS / "feature_metrics.npz") as stored:
    REFERENCE = {name: float(value) for name, value in stored.items()}


@pytest.mark.parametrize("name", REFERENCE)
def test_equal_to_the_reference(ours, name):
    assert ours[name] == pytest.approx(REFERENCE[name], rel=1e-6)


def test_the_references_tell_sets_apart():
    """Shares away from 0 and 1, distances away from 0."""
    for name in ("precision", "recall", "coverage"):
        assert 0.05 < REFERENCE[name] < 0.95
    assert REFERENCE["fid"] > 1.0
    assert REFERENCE["kid mean"] > 2 * REFERENCE["kid std"] > 0
