"""Training that is killed at any moment goes on, and ends as if it had never been."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ldm_jax import checkpoint, runs
from ldm_jax.config import Train
from tests.support import tiny

pytestmark = pytest.mark.process
TOOL = Path(__file__).parents[2] / "train.py"
STEPS = {"first stage": 8, "diffusion": 16}
TRAIN = Train(save_every=2, log_every=1, sample_every=0, num_samples=2)


class Killed(NamedTuple):
    """What one killed command left behind."""

    stage: str
    checkpoint: int  # the newest of that stage
    afterwards: str  # what the same command then said


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the config and the runs of this module are."""
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def start(image_folder, folder):
    """Starts train.py with the config of this module: run -> process."""
    experiment = tiny.experiment(
        image_folder,
        conditions=(),
        train=replace(TRAIN, steps=STEPS["diffusion"]),
    )
    first_stage = replace(experiment.first_stage, train=replace(TRAIN, steps=STEPS["first stage"]))
    config = folder / "config.py"
    config.write_text(runs.as_python(replace(experiment, first_stage=first_stage)))
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}

    def popen(run: Path) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, TOOL, config, "--workdir", run],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return popen


@pytest.fixture(scope="module")
def uninterrupted(start, folder):
    """The run of one command that ended by itself."""
    process = start(folder / "uninterrupted")
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return folder / "uninterrupted"


@pytest.fixture(scope="module")
def interrupted(start, folder, uninterrupted):
    """The run of a command that was killed again and again, and what was seen on the way.

    (After `uninterrupted`, which leaves compiled programs for it.)
    """
    run, rng, seen = folder / "interrupted", np.random.default_rng(0), []
    for stage, step in (
        ("first stage", rng.integers(2, 5)),
        ("diffusion", rng.integers(2, 12)),
        ("none", 0),
    ):
        process, said = start(run), ""
        place = of_stage(run, stage)
        for line in process.stdout:
            said += line
            found = re.match(rf"{stage} (\d+)/", line)
            if found and int(found[1]) >= step and checkpoint.latest_step(place) is not None:
                time.sleep(rng.uniform(0, 0.05))  # in a step or in a checkpoint: all must do
                process.kill()
                said += process.stdout.read()
        if seen:
            seen[-1] = seen[-1]._replace(afterwards=said)
        if process.wait() == 0:  # the last, or one that was too quick for us
            return run, seen
        assert process.returncode == -signal.SIGKILL, said
        seen.append(Killed(stage, spoil(place), ""))


def spoil(run: Path) -> int:
    """Adds what an unlucky kill leaves: a next checkpoint half-written, an old one half-removed.

    Returns the step of the newest checkpoint, which is whole.
    """
    folder = run / "checkpoints"
    *older, newest = sorted(int(f.name) for f in folder.iterdir() if f.name.isdecimal())
    unfinished = folder / f"{newest + 2}.orbax-checkpoint-tmp"
    if not unfinished.exists():
        shutil.copytree(folder / str(newest) / "params", unfinished / "params")
    for step in older:
        shutil.rmtree(folder / str(step) / "params")
    return newest


def test_the_same_command_resumes_from_the_newest_whole_checkpoint(interrupted):
    _, seen = interrupted
    assert seen
    for killed in seen:
        assert killed.checkpoint > 0
        assert f"{killed.stage}: resuming from step {killed.checkpoint}\n" in killed.afterwards


@pytest.mark.parametrize("stage", STEPS)
def test_the_end_is_that_of_an_uninterrupted_run_bit_for_bit(stage, uninterrupted, interrupted):
    """Weights, their average, the optimizer's state and the place in the data."""
    both = uninterrupted, interrupted[0]
    tiny.assert_same(*(tiny.saved(of_stage(run, stage), STEPS[stage]) for run in both))


@pytest.mark.parametrize("stage", STEPS)
def test_every_step_is_in_the_metrics_once_with_the_same_numbers(stage, uninterrupted, interrupted):
    expected, found = (tiny.rows(of_stage(run, stage)) for run in (uninterrupted, interrupted[0]))
    assert [int(row["step"]) for row in found] == list(range(1, STEPS[stage] + 1))
    assert found == expected


@pytest.mark.parametrize("stage", STEPS)
def test_nothing_half_written_is_left(stage, interrupted):
    run = of_stage(interrupted[0], stage)
    last = STEPS[stage]
    assert sorted(file.name for file in (run / "checkpoints").iterdir()) == [
        str(last - 2),
        str(last),
    ]
    assert not [file for file in run.iterdir() if file.name.startswith(".")]


def of_stage(run: Path, stage: str) -> Path:
    return run / "first_stage" if stage == "first stage" else run
