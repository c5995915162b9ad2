"""Ten steps of diffusers' pipelines, guided by 3, end where ours do: text, image, inpainting.

The reference is made by `make_pipelines.py`.
"""

import compare
import pipeline_cases as cases
import pipelines
import pytest

TOLERANCE = 1e-3  # of the largest latent


@pytest.mark.parametrize(("task", "sampler"), cases.CASES)
def test_the_walk_ends_where_diffusers_does(task, sampler):
    (pair,) = pipelines.pairs(task, sampler).values()
    assert compare.errors(*pair)[1] < TOLERANCE
