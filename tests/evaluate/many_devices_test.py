"""Statistics do not depend on how many devices found the features."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.process
SCRIPT = Path(__file__).with_name("many_devices.py")


def test_eight_devices_and_one_find_the_same(tmp_path):
    out = tmp_path / "found.npz"
    root = str(SCRIPT.parents[2])
    done = subprocess.run(
        [sys.executable, SCRIPT, out],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
    with np.load(out) as found:
        assert found["one"].shape == (37, 6)  # the last batch is filled up, and the rest left out
        assert np.ptp(found["one"]) > 0.1
        np.testing.assert_allclose(found["eight"], found["one"], atol=1e-6)
        np.testing.assert_allclose(found["outer_eight"], found["outer_one"], rtol=1e-6)
