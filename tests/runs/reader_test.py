"""A run's config is data: read without executing it, and refused where it is anything else."""

import ast
import math
import sys
from dataclasses import replace

import pytest

import sample
import train
from ldm_jax import cli, runs
from ldm_jax.config import (
    CLIPExperiment,
    Data,
    Depth,
    Experiment,
    FirstStageExperiment,
    Sampling,
    Text,
)
from ldm_jax.errors import InputError
from ldm_jax.runs import reader

HEAD = "from ldm_jax.config import *  # noqa: F403\n"
MARK = "open('executed', 'w')"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder with checkpoints and no config."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "checkpoints" / "1").mkdir(parents=True)
    return tmp_path / "run"


def refusal(run, text, encoding="utf-8"):
    (run / "config.py").write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    with pytest.raises(InputError) as error:
        runs.load_config(run)
    assert "\n" not in str(error.value)
    assert not (run.parent / "executed").exists()
    return str(error.value)


@pytest.mark.parametrize(
    "experiment",
    [
        Experiment(data=Data(path="a 'b' \\ \"c\" é " + "word " * 60, image_size=64)),
        replace(Experiment(), seed=2**32 - 1),
        FirstStageExperiment(),
        CLIPExperiment(),
    ],
)
def test_what_a_run_says_of_itself_is_read_back(experiment, run):
    (run / "config.py").write_text(runs.as_python(experiment))
    assert runs.load_config(run) == experiment


def test_values_are_read_as_they_are_written(run):
    text = "(-1, +0.5, inf, -inf, (1, (2,)), [None, True], {'a': 1, 2: ()}, 'x' 'y')"
    value = reader._Reader(run).value(ast.parse(text, mode="eval").body, 0)
    assert value == (-1, 0.5, math.inf, -math.inf, (1, (2,)), [None, True], {"a": 1, 2: ()}, "xy")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"{HEAD}{MARK}\nconfig = Experiment()", "line 2: a line of code, a call of 'open'"),
        (f"{HEAD}config = Experiment(seed={MARK})", "line 2: a call of 'open'"),
        (f"import os\n{HEAD}config = Experiment()", "line 1: an import of 'os'"),
        ("from os import *\nconfig = Experiment()", "line 1: an import from 'os'"),
        (
            f"from ldm_jax.config import Data as D\n{MARK}",
            "line 1: an import from 'ldm_jax.config'",
        ),
        (f"{HEAD}config = Experiment(seed=Data.path)", "an access to attribute 'path'"),
        (f"{HEAD}config = Data.__class__()", "a call of an access to attribute '__class__'"),
        (f"{HEAD}config = (lambda: {MARK})()", "a call of an expression (Lambda)"),
        (f"{HEAD}config = Experiment(seed=dataclass())", "a call of 'dataclass'"),
        (f"{HEAD}config = Experiment(Data())", "without the name of its field"),
        (f"{HEAD}config = Experiment(**{{'seed': 1}})", "`**` in Experiment"),
        (f"{HEAD}config = Experiment(data=Data(path=f'{{open(1)}}'))", "(JoinedStr)"),
        (f"{HEAD}config = Experiment(seed=1, seed=2)", "a second 'seed' of Experiment"),
        (f"{HEAD}config = Experiment(seed=1 + 1)", "an expression (BinOp)"),
        (f"{HEAD}config = Experiment(seed=[1 for _ in 'a'])", "an expression (ListComp)"),
        (f"{HEAD}config = Experiment(seed=-True)", "a sign before what is no number"),
        (f"{HEAD}config = Experiment(seed={2**63})", "a number too large"),
        (f"{HEAD}config = Experiment(seed=1e999)", "a number too large"),
        (f"{HEAD}config = Experiment(seed={'9' * 5000})", "cannot be parsed: Exceeds the limit"),
        (f"{HEAD}config = Experiment(seed=1j)", "a value of type complex"),
        (f"{HEAD}config = Experiment(seed=b'1')", "a value of type bytes"),
        (f"{HEAD}config = Experiment(seed=other)", "the name 'other'"),
        (f"{HEAD}config = Experiment(seed={'(' * 40}1{',)' * 40})", "values more than 32 deep"),
        (f"{HEAD}config = Experiment(seed={'-' * 100_000}1)", "cannot be parsed"),
        (f"{HEAD}config = Experiment(seed=1{'+1' * 100_000})", "cannot be parsed"),
        (f"{HEAD}config = Experiment(seed={'[' * 1000})", "cannot be parsed"),
        (f"{HEAD}config = Experiment()\nconfig = Experiment()", "line 3: a second `config`"),
        (f"{HEAD}other = Experiment()", "line 2: a line of code (Assign)"),
        (f"{HEAD}def f(): {MARK}\nconfig = Experiment()", "a line of code (FunctionDef)"),
        (f"{HEAD}config = Experiment(data=Data(path='\\0'))", "text with a NUL"),
        (f"{HEAD}#{'x' * 2**18}\nconfig = Experiment()", "is larger than 262144 bytes"),
        (
            f"{HEAD}config = Experiment(sed=1)",
            "Experiment has no field 'sed': did you mean 'seed'?",
        ),
        (f"{HEAD}config = Experiment(seed='1')", "seed is '1' (str): expected int"),
        (f"{HEAD}config = Data()", "has no experiment"),
        (HEAD, "has no experiment"),
        ("config = (", "cannot be parsed"),
        (f"# -*- coding: latin-1 -*-\n{HEAD}config = Experiment()", "says that it is 'latin-1'"),
        (f"# vim: fileencoding=utf_7\n{HEAD}+AG8-", "says that it is 'utf_7'"),
        (f"{HEAD}config = Experiment()\0", "holds a NUL byte"),
    ],
)
def test_anything_else_is_refused_by_name_and_nothing_runs(text, named, run):
    assert named in refusal(run, text)


def test_another_encoding_is_refused(run):
    text = f"{HEAD}config = Experiment(data=Data(path='é'))"
    assert "is not UTF-8" in refusal(run, text, "latin-1")
    assert "is not UTF-8" in refusal(run, text, "utf-16")


def test_tools_say_it_in_one_line_with_status_2(run, monkeypatch, capsys):
    (run / "config.py").write_text(f"{HEAD}{MARK}\nconfig = Experiment()\n")
    for tool, words in (
        (sample, ["run"]),
        (sample, ["run/checkpoints/1"]),
        (train, ["run/config.py"]),
        (train, ["run/config.py", "--help"]),
    ):
        monkeypatch.setattr(sys, "argv", ["tool.py", *words])
        with pytest.raises(SystemExit) as stop:
            cli.main(tool.main)
        error = capsys.readouterr().err
        assert stop.value.code == 2
        assert error.startswith("error: config 'run/config.py', line 2: a line of code, a call of")
        assert error.count("\n") == 1
        assert not (run.parent / "executed").exists()


def test_a_config_that_is_in_no_run_is_python(run):
    (run / "checkpoints" / "1").rmdir()
    (run / "checkpoints").rmdir()
    (run / "config.py").write_text(f"{HEAD}config = Experiment(seed=int('3'))\n")
    assert cli.load_config(run / "config.py").seed == 3


def test_settings_of_before_are_read_under_the_names_of_today(run):
    words = "condition=Text(dim=8), beside=Depth(), sampling=Sampling(grid='karras')"
    (run / "config.py").write_text(f"{HEAD}config = Experiment({words})\n")
    found = reader.read(run / "config.py")
    assert found.conditions == (Text(dim=8), Depth())
    assert found.sampling == Sampling(spacing="karras")
