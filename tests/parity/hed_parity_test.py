"""Soft edges by HED against the same network in PyTorch; the reference is made by `make/hed.py`."""

import numpy as np

from ldm_jax.extractors.hed import soft_edges
from ldm_jax.weights.names.hed import params_of
from tests.parity import compare
from tests.parity.cases import hed_cases as cases
from tests.parity.folders import ARRAYS


def test_soft_edges_are_those_of_the_reference():
    found = soft_edges(params_of(cases.weights()), cases.IMAGE)
    with np.load(ARRAYS / "hed.npz") as reference:
        assert compare.errors(found[..., 0], reference["edges"])[1] < 2e-5
