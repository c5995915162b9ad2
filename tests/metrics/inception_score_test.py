"""The Inception Score of logits whose score is known."""

import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.metrics.inception_score import inception_score

RNG = np.random.default_rng(0)


def test_certain_predictions_of_all_classes_score_the_number_of_classes():
    logits = np.tile(1e4 * np.eye(5), (20, 1))
    found = inception_score(logits, splits=1)
    assert found.mean == pytest.approx(5.0)
    assert found.std == 0.0


def test_the_same_prediction_for_all_scores_one():
    logits = np.tile(RNG.normal(size=7), (30, 1))
    assert inception_score(logits, splits=3).mean == pytest.approx(1.0)


def test_a_constant_added_to_the_logits_of_an_image_changes_nothing():
    logits = RNG.normal(size=(40, 6))
    shifted = logits + RNG.normal(size=(40, 1)) * 100
    assert inception_score(shifted, 4).mean == pytest.approx(inception_score(logits, 4).mean)


def test_in_order_parts_are_what_they_are():
    """Without shuffling, a part is one class; with it, it has all."""
    logits = np.repeat(1e4 * np.eye(4), 25, axis=0)
    assert inception_score(logits, splits=4, seed=None).mean == pytest.approx(1.0)
    assert inception_score(logits, splits=4).mean > 3.5


def test_more_parts_than_examples_are_refused():
    with pytest.raises(InputError, match="splits is 10: expected 1 to 3"):
        inception_score(np.zeros((3, 4)))
