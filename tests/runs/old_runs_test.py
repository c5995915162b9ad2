"""Runs that were written before frozen weights were kept apart and conditions became a tuple.

`old/make.py` made them: two steps of each stage, what they draw and how training goes on.
"""

import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest
from PIL import Image

import sample
import train
from ldm_jax import cli
from tests.support import tiny

PROMPTS = ["a red block at the top", "a blue block at the bottom"]
WORDS = {"captions": [], "inpainting": ["--init-image", "images/03.png", "--mask", "mask.png"]}


@pytest.fixture(params=WORDS)
def old(request, tmp_path, monkeypatch):
    """The name of an old run, in `run` of the working folder, and what is expected of it."""
    monkeypatch.chdir(tmp_path)
    with tarfile.open(Path(__file__).parent / "old" / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    tiny.write_folder(tmp_path / "images")
    mask = np.zeros((tiny.SIZE, tiny.SIZE), np.uint8)
    mask[2:6, 2:6] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return request.param, np.load(tmp_path / "expected.npz")


def call(monkeypatch, tool, *words):
    monkeypatch.setattr(sys, "argv", ["tool.py", *words])
    cli.main(tool.main)


def test_an_old_run_draws_what_it_drew_and_goes_on_as_it_went_on(old, monkeypatch):
    name, expected = old
    drawing = ("--num", "4", "--seed", "7", "--steps", "4", "--prompt", *PROMPTS, *WORDS[name])
    call(monkeypatch, sample, "run", *drawing, "--out", "drawn")
    images = np.load("drawn/samples.npz")["arr_0"]
    assert np.ptp(images) > 50
    np.testing.assert_allclose(images.astype(int), expected["images"].astype(int), atol=2)
    run, paused = (Path(name).absolute() for name in ("run", "paused"))
    shutil.copytree(run, paused)
    before, old = tiny.saved(run, 2)["params"], held(run / "checkpoints" / "2" / "params")
    call(monkeypatch, train, "run/config.py", "--workdir", "run", "--train.steps", "4")
    losses = [float(row["loss"]) for row in tiny.rows(run)]
    assert len(losses) == 4
    np.testing.assert_allclose(losses[2:], expected["losses"], rtol=1e-4)
    for steps in ("3", "4"):  # from an old checkpoint, and then from a new one
        call(monkeypatch, train, "run/config.py", "--workdir", "paused", "--train.steps", steps)
    tiny.assert_same(tiny.saved(paused, 4), tiny.saved(run, 4))
    assert tiny.rows(paused) == tiny.rows(run)
    tiny.assert_same(tiny.saved(run, 4)["params"]["first_stage"], before["first_stage"])
    assert old - held(run / "checkpoints" / "4" / "params") == held(run / "frozen")
    assert "first_stage" in held(run / "frozen")


def held(place):
    """The parts in a folder that Orbax wrote."""
    with ocp.StandardCheckpointer() as reader:
        return set(reader.metadata(place).item_metadata.tree)
