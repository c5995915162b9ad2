"""A slice of the fuzz, in this process: malformed inputs of every reader by their seeds."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import fuzz
from benchmarks.fuzz_readers import READERS, Reader
from benchmarks.fuzz_sound import Sound
from ldm_jax.errors import InputError

COUNT = 300


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    place = tmp_path_factory.mktemp("fuzz")
    sound = Sound(place / "sound")
    return [fuzz.run(seed, sound, place) for seed in range(COUNT)]


def test_a_malformed_input_is_read_or_refused_in_one_line(results):
    """`python benchmarks/fuzz.py --seed N` repeats one and shows what it raises."""
    faults = [one for one in results if one.fault]
    assert not faults, "\n".join(map(str, faults))


def test_every_reader_has_some_and_refuses_some(results):
    refused = {one.reader for one in results if one.outcome == "refused"}
    assert {one.reader for one in results} == refused == set(READERS)


def refuse():
    raise InputError("'x' is no image: expected one")


@pytest.mark.parametrize(
    "read, fault",
    [
        (refuse, ""),
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: Path("../outside").write_text("x"), "wrote"),
        (lambda: Path("inside").write_text("x"), ""),
        (lambda: subprocess.run([sys.executable, "-c", ""]), "started a program"),
        (lambda: len(b"x" * 10**8), "took 0.1 GB"),
    ],
)
def test_what_is_no_refusal_is_a_fault(read, fault, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "READERS", {"one": Reader("", 1, lambda *_: read)})
    monkeypatch.setattr(fuzz, "BYTES", 2 * 10**7)
    found = fuzz.run(0, None, tmp_path)
    assert found.fault.startswith(fault) and bool(found.fault) == bool(fault)


def test_what_never_returns_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 0.1)
    monkeypatch.setattr(fuzz, "READERS", {"one": Reader("", 1, lambda *_: forever)})
    assert fuzz.run(0, None, tmp_path).fault.startswith("Hang")


def forever():
    while True:
        pass
