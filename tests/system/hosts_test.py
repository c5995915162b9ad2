"""Two processes of four devices each are one run: that of one process with eight."""

import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import pytest

from ldm_jax import checkpoint, runs
from ldm_jax.config import Evaluation, FirstStageEvaluation, Label, Mesh
from ldm_jax.errors import InputError
from ldm_jax.runtime import hosts
from tests.support import tiny

pytestmark = pytest.mark.process
SCRIPT = Path(__file__).with_name("two_processes.py")


def start(devices, *words):
    words = [sys.executable, SCRIPT, devices, *words]
    return subprocess.Popen(
        list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def config(image_folder, tmp_path_factory):
    """Both stages, two steps and four, saved and measured after each second; the second stage with
    its state in four parts, two on each side."""
    experiment = tiny.experiment(image_folder, conditions=(Label(dim=8),))
    train = replace(experiment.train, steps=2)
    experiment = replace(
        experiment,
        train=replace(train, steps=4, mesh=Mesh(fsdp=4), best="fid"),
        evaluation=Evaluation(every=2, num=10, batch_size=8),
        first_stage=replace(
            experiment.first_stage,
            model=replace(experiment.first_stage.model, channel_mults=(1,)),
            train=replace(train, sample_every=2),
            evaluation=FirstStageEvaluation(every=2, num=10, batch_size=8),
        ),
    )
    path = tmp_path_factory.mktemp("hosts") / "config.py"
    path.write_text(runs.as_python(experiment))
    return path


def run_alone(config, run):
    """One process with eight devices."""
    process = start(8, config, "--workdir", run)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    return said


def run_together(config, run):
    """Two processes with four devices each, and what each said."""
    words = [config, "--workdir", run, "--coordinator", f"127.0.0.1:{free_port()}"]
    words += ["--num-processes", 2, "--process-id"]
    processes = [start(4, *words, index) for index in range(2)]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return [out for out, _ in said]


@pytest.fixture(scope="module")
def alone(config):
    """The run of one process with eight devices."""
    run = config.parent / "alone"
    run_alone(config, run)
    return run


@pytest.fixture(scope="module")
def together(config):
    """The run of two processes with four devices each, and what each said."""
    run = config.parent / "together"
    return run, run_together(config, run)


def test_two_processes_compute_what_one_does(alone, together):
    run, _ = together
    assert_like(run, alone)


def assert_like(run, expected):
    """Two runs have the same losses, and end with the same weights."""
    for stage, steps in ((".", 4), ("first_stage", 2)):
        found, rows = tiny.rows(run / stage), tiny.rows(expected / stage)
        assert len(found) == len(rows) == steps
        for row, one in zip(found, rows, strict=True):
            assert_same_numbers(row, one)
    loaded, one = runs.load(run), runs.load(expected)
    tiny.assert_close(loaded.params, one.params, atol=1e-4)


def assert_same_numbers(row, expected):
    """Those of a step; what was not measured at it is empty in both."""
    found, numbers = ({name: float(x) for name, x in r.items() if x} for r in (row, expected))
    assert found == pytest.approx(numbers, rel=1e-4)


def test_two_processes_measure_what_one_does(alone, together):
    """In four parts of a batch and with the last batch not full; the same is then kept as best."""
    for stage, name, steps in ((".", "fid", [2, 4]), ("first_stage", "eval_psnr", [2])):
        here, there = (tiny.rows(run / stage) for run in (together[0], alone))
        assert [int(row["step"]) for row in here if row[name]] == steps
        for row, one in zip(here, there, strict=True):
            assert bool(row[name]) == bool(one[name])
            assert not row[name] or float(row[name]) == pytest.approx(float(one[name]), rel=1e-4)
    best = {runs.load(runs.chosen(run, "best")).step for run in (together[0], alone)}
    assert len(best) == 1


def half_of(run, name):
    """A copy of a run that ended after two of four steps."""
    copy = run.with_name(name)
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "checkpoints" / "4")
    assert checkpoint.latest_step(copy) == 2
    return copy


def test_what_two_processes_saved_one_goes_on_with(config, alone, together):
    run = half_of(together[0], "from two to one")
    assert "diffusion: resuming from step 2" in run_alone(config, run)
    assert_like(run, alone)


def test_what_one_process_saved_two_go_on_with(config, alone):
    run = half_of(alone, "from one to two")
    assert "diffusion: resuming from step 2" in run_together(config, run)[0]
    assert_like(run, alone)


def test_one_of_them_writes_and_speaks(alone, together):
    run, (first, second) = together
    assert "a step sees 8 images" in first
    assert "from 2 hosts" in first
    assert "images" not in second

    def written(run):
        files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
        own = ("checkpoints/", "frozen/", "tfevents")  # names of files that Orbax and others draw
        return {name for name in files if not any(word in name for word in own)}

    assert written(run) == written(alone)
    assert checkpoint.latest_step(run) == 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("host", "2", "0"), "--coordinator is 'host': expected HOST:PORT"),
        (("host:1", "two", "0"), "--num-processes is 'two': expected a whole number"),
        (("host:1", "2", "2"), "--process-id is 2: expected 0 to 1"),
        (("host:1", None, "0"), "give --coordinator, --num-processes, --process-id to each"),
    ],
)
def test_what_does_not_say_where_to_meet_is_refused(given, message, monkeypatch):
    def nothing_detected(*given):
        raise ValueError("Number of processes must be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", nothing_detected)
    with pytest.raises(InputError, match=message):
        hosts.connect(False, *given)


def test_one_process_alone_waits_for_nobody():
    hosts.connect(False)
    assert hosts.is_first()
