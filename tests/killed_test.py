"""Training that is killed at any moment goes on, and ends as if it had never been."""

import csv
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orbax.checkpoint as ocp
import pytest
import tiny

from ldm_jax import checkpoint, runs
from ldm_jax.config import Train, Unconditional

TOOL = Path(__file__).parents[1] / "train.py"
STEPS = {"first stage": 12, "diffusion": 40}
TRAIN = Train(save_every=2, log_every=1, sample_every=0, num_samples=2)


class Killed(NamedTuple):
    """What one killed command left behind."""

    stage: str
    run: Path  # of the stage
    checkpoint: int  # the newest
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
        condition=Unconditional(),
        train=replace(TRAIN, steps=STEPS["diffusion"]),
    )
    first_stage = replace(experiment.first_stage, train=replace(TRAIN, steps=STEPS["first stage"]))
    config = folder / "config.py"
    config.write_text(runs.as_python(replace(experiment, first_stage=first_stage)))
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }

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
    """The run of a command that was killed three times, and what was seen on the way.

    (After `uninterrupted`, which leaves compiled programs for it.)
    """
    run, rng, seen = folder / "interrupted", np.random.default_rng(0), []
    folders = {"first stage": run / "first_stage", "diffusion": run}
    moments = [
        ("first stage", rng.integers(3, 8)),
        ("diffusion", rng.integers(3, 12)),
        ("diffusion", rng.integers(14, 28)),
        None,
    ]
    for moment in moments:
        process, said = start(run), []
        for line in process.stdout:
            said.append(line)
            if moment and reached(line, moment, folders):
                time.sleep(rng.uniform(0, 0.05))  # in a step, in a checkpoint: all must do
                process.kill()
                moment = (*moment, "killed")
        status = process.wait()
        if seen:
            seen[-1] = seen[-1]._replace(afterwards="".join(said))
        if moment is None:
            assert status == 0, "".join(said)
        else:
            assert status == -9, "".join(said)
            stage = moment[0]
            seen.append(Killed(stage, folders[stage], spoil(folders[stage]), ""))
    return run, seen


def reached(line: str, moment: tuple, folders: dict[str, Path]) -> bool:
    """Whether a line says that the moment has come, and a checkpoint is there."""
    stage, step = moment[:2]
    found = re.match(rf"{stage} (\d+)/", line)
    is_new = len(moment) == 2
    return bool(
        is_new
        and found
        and int(found[1]) >= step
        and checkpoint.latest_step(folders[stage]) is not None
    )


def spoil(run: Path) -> int:
    """Adds what an unlucky kill leaves: a next checkpoint half-written, an old one half-removed.

    Returns the step of the newest checkpoint, which is whole.
    """
    folder = run / "checkpoints"
    newest, *older = sorted((int(f.name) for f in folder.iterdir() if f.name.isdecimal()))[::-1]
    unfinished = folder / f"{newest + 2}.orbax-checkpoint-tmp"
    if not unfinished.exists():
        shutil.copytree(folder / str(newest) / "params", unfinished / "params")
    for step in older:
        shutil.rmtree(folder / str(step) / "params")
    return newest


def test_the_same_command_resumes_from_the_newest_whole_checkpoint(interrupted):
    _, seen = interrupted
    assert [killed.stage for killed in seen] == ["first stage", "diffusion", "diffusion"]
    for killed in seen:
        assert killed.checkpoint > 0
        assert f"{killed.stage}: resuming from step {killed.checkpoint}\n" in killed.afterwards


@pytest.mark.parametrize("stage", STEPS)
def test_the_end_is_that_of_an_uninterrupted_run_bit_for_bit(stage, uninterrupted, interrupted):
    """Weights, their average, the optimizer's state and the place in the data."""
    ends = [last_checkpoint(run, stage) for run in (uninterrupted, interrupted[0])]
    tiny.assert_same(*ends)


@pytest.mark.parametrize("stage", STEPS)
def test_every_step_is_in_the_metrics_once_with_the_same_numbers(stage, uninterrupted, interrupted):
    expected, found = (metrics(run, stage) for run in (uninterrupted, interrupted[0]))
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


def last_checkpoint(run: Path, stage: str) -> dict:
    """Everything in the last checkpoint, by name."""
    folder = of_stage(run, stage) / "checkpoints" / str(STEPS[stage])
    (position,) = (folder / "data").glob("*.json")
    parts = {
        item: ocp.StandardCheckpointer().restore((folder / item).absolute())
        for item in ("params", "ema", "optimizer")
    }
    return {**parts, "data": position.read_text()}


def metrics(run: Path, stage: str) -> list[dict[str, str]]:
    """The rows of metrics.csv, without the speed."""
    with (of_stage(run, stage) / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]
