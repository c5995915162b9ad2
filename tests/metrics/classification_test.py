"""Classes found among classes."""

import numpy as np
import pytest

from ldm_jax.metrics.classification import confusion, ensemble, top

LOGITS = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [0.0, 0.0, 0.0]])
LABELS = np.array([0, 1, 2, 1])


def test_the_label_is_among_the_n_highest():
    """Right at once: the first; among two: all but none; of equal ones the first are higher."""
    assert [top(LOGITS, LABELS, k) for k in (1, 2, 3)] == [0.25, 1.0, 1.0]


def test_confusions_have_a_row_for_what_it_is_and_a_column_for_what_was_found():
    found = confusion(np.array([0, 2, 1, 0]), LABELS, 3)
    assert found.tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_several_descriptions_are_one_direction():
    x = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [0.6, 0.8]]])
    np.testing.assert_allclose(ensemble(x), [[0.5**0.5, 0.5**0.5], [0.6, 0.8]])


@pytest.mark.parametrize("count", [1, 3])
def test_one_description_is_itself(count):
    x = np.eye(4)[:count, None]
    np.testing.assert_allclose(ensemble(x), np.eye(4)[:count])
