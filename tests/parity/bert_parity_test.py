"""BERT's states and sentence embeddings equal transformers' (see `make_bert.py`)."""

from pathlib import Path

import bert
import bert_cases as cases
import compare
import numpy as np
import pytest

with np.load(Path(__file__).parent / "bert.npz") as file:
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
