"""Eight devices train what one does, by `jit` over a mesh and by `pmap`; more in meshes_test."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from ldm_jax import runs
from tests.support import tiny
from tests.train_step import eight_devices

pytestmark = pytest.mark.process
SCRIPT = Path(__file__).with_name("eight_devices.py")
every_kind = pytest.mark.parametrize("kind", ["jit", "pmap"])


@pytest.fixture(scope="module")
def spread(image_folder, trained_run, tmp_path_factory):
    """A folder with the runs `jit` and `pmap`, two steps each on eight devices."""
    out = tmp_path_factory.mktemp("eight")
    words = [sys.executable, SCRIPT, image_folder, trained_run / "first_stage", out]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@every_kind
def test_losses_are_those_of_one_device(spread, trained_run, kind):
    found, expected = tiny.rows(spread / kind), tiny.rows(trained_run)[:2]
    assert len(found) == 2
    for row, one in zip(found, expected, strict=True):
        assert row.keys() == one.keys()
        for name in row:
            np.testing.assert_allclose(float(row[name]), float(one[name]), rtol=1e-4)


@every_kind
def test_weights_are_those_of_one_device(spread, trained_run, kind):
    found, expected = tiny.saved(spread / kind, 2), tiny.saved(trained_run, 2)
    for part in ("params", "ema"):
        tiny.assert_close(found[part], expected[part], atol=1e-4)
    assert found["data"] == expected["data"]


@every_kind
def test_a_run_of_eight_devices_is_read_on_one(spread, kind):
    assert jax.device_count() == 1
    loaded, state = runs.load(spread / kind), tiny.saved(spread / kind, 2)
    tiny.assert_same(loaded.params, {**state["params"], **state["ema"]})


def test_adapters_are_those_of_one_device_and_so_are_images_with_several(
    spread, trained_run, tmp_path
):
    eight_devices.train_adapters(trained_run, tmp_path)
    for name in eight_devices.ADAPTERS:
        found, expected = tiny.saved(spread / name, 2), tiny.saved(tmp_path / name, 2)
        tiny.assert_close(found["params"], expected["params"], atol=1e-4)
    drawn = eight_devices.drawn_with_both(trained_run, spread)
    levels = np.abs(np.load(spread / "drawn.npy").astype(int) - drawn)
    assert drawn.shape[0] == 8
    assert np.max(levels) <= 1
