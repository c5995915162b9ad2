"""Eight devices in every arrangement compute what one does, and hold no more than their part."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.process
SCRIPT = Path(__file__).with_name("meshes.py")
KINDS = ["data", "fsdp, in parts", "all axes", "pmap, in parts"]
every_objective = pytest.mark.parametrize("objective", ["diffusion", "autoencoder"])


def call(*words):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("meshes")
    call("train", out)
    return out


@every_objective
@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_those_of_one_device(trained, objective, kind):
    """Losses, weights of the adversary, gradients' norms; weights, averages, codes, histories."""
    one, found = (np.load(trained / objective / f"{name}.npz") for name in ("one", kind))
    assert one.files == found.files
    for name in one.files:
        np.testing.assert_allclose(found[name], one[name], rtol=1e-4, atol=2e-5, err_msg=name)


@every_objective
def test_fsdp_divides_what_a_device_holds(trained, objective):
    held = json.loads((trained / objective / "held.json").read_text())
    assert held["fsdp, in parts"] <= held["data"] / 7
    assert held["all axes"] <= held["data"] / 3
    assert held["data"] == held["pmap, in parts"] == held["one"]


@pytest.mark.parametrize(("objective", "count"), [("autoencoder", 1), ("diffusion", 2)])
def test_what_eight_saved_fewer_restore(trained, objective, count):
    run = trained / objective / "run"
    call("restore", run, count)
    saved, restored = (
        np.load(trained / objective / "fsdp, in parts.npz"),
        np.load(run / f"restored_{count}.npz"),
    )
    assert restored.files
    for name in restored.files:
        np.testing.assert_array_equal(restored[name], saved[name], err_msg=name)
