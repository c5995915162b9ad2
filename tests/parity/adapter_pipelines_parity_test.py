"""Ten steps of diffusers' pipelines with adapters, guided by 3, end where ours do.

Ours read the same files by the options of `sample.py`. The reference is made by
`make/adapter_pipelines.py`.
"""

import pytest

from tests.parity import compare
from tests.parity.cases import adapter_pipelines
from tests.parity.cases.adapter_pipeline_cases import CASES

TOLERANCE = 1e-5  # of the largest latent


@pytest.mark.parametrize("name", CASES)
def test_images_with_adapters_end_where_diffusers_do(name, tmp_path):
    (pair,) = adapter_pipelines.pairs(name, tmp_path).values()
    assert compare.errors(*pair)[1] < TOLERANCE
