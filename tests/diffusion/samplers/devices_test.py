"""An image's noise and trajectory depend on its seed alone, on any number of devices."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.process
SCRIPT = Path(__file__).with_name("devices.py")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """What `devices.py` finds."""
    out = tmp_path_factory.mktemp("arrays") / "found.npz"
    done = subprocess.run([sys.executable, SCRIPT, out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(out) as found:
        return dict(found)


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("sampler", ["ddpm", "dpmpp_2m_sde", "heun", "plms", "lcm"])
def test_one_device_and_several_have_equal_trajectories(arrays, sampler, count):
    np.testing.assert_array_equal(arrays[f"noise {sampler} {count}"], arrays[f"noise {sampler} 1"])
    np.testing.assert_allclose(arrays[f"{sampler} {count}"], arrays[f"{sampler} 1"], atol=1e-5)


def test_every_seed_has_an_image_of_its_own(arrays):
    x = arrays["ddpm 8"]
    assert min(np.abs(x[i] - x[j]).max() for i in range(8) for j in range(i)) > 0.1
