"""BERT's states and sentence embeddings equal transformers' (see `make/bert.py`)."""

import numpy as np
import pytest

from tests.parity import compare
from tests.parity.cases import bert
from tests.parity.cases import bert_cases as cases
from tests.parity.folders import ARRAYS

with np.load(ARRAYS / "bert.npz") as file:
    STORED = dict(file)


@pytest.fixture(scope="module")
def ours():
    return bert.small()


@pytest.mark.parametrize("name", STORED)
def test_equal_to_transformers(ours, name):
    assert compare.errors(ours[name], STORED[name])[1] < 5e-6
    assert np.abs(STORED[name][0] - STORED[name][1]).max() > 0.1  # of two captions


def test_captions_of_every_length_are_compared():
    words = np.sum(cases.tokens() != 0, axis=1)
    assert len(set(words)) == len(words) and max(words) < cases.LENGTH
