"""Ten steps of diffusers' pipelines, guided by 3, end where ours do, for every task.

The reference is made by `make/pipelines.py`; `pipelines.py` prints all of it, which takes longer.
"""

import pytest

from tests.parity import compare
from tests.parity.cases import pipeline_cases as cases
from tests.parity.cases import pipelines

TOLERANCE = 1e-5  # of the largest latent
ASKED = [case for case in cases.CASES if case[0] == "text" or case[1] == "ddim"]


@pytest.mark.parametrize(("task", "sampler"), ASKED)
def test_the_trajectory_ends_where_diffusers_does(task, sampler):
    (pair,) = pipelines.pairs(task, sampler).values()
    assert compare.errors(*pair)[1] < TOLERANCE
