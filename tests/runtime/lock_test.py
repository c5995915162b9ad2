"""One process at a time trains in a folder."""

import json
import os

import pytest

from ldm_jax.errors import InputError
from ldm_jax.runtime import lock


def test_a_second_holder_is_refused_with_the_first_named(tmp_path):
    run = tmp_path / "run"
    with lock.holding(run):
        for other in (lambda: lock.check_free(run), lambda: lock.holding(run).__enter__()):
            with pytest.raises(InputError) as refused:
                other()
            for text in (f"'{run}' is in use by process {os.getpid()} on ", " since ", "--workdir"):
                assert text in str(refused.value)
    lock.check_free(run)
    with lock.holding(run):
        pass


def test_what_a_crashed_process_left_is_no_obstacle(tmp_path):
    (tmp_path / "lock").write_text(json.dumps({"host": "here", "pid": 1, "since": "ever"}))
    lock.check_free(tmp_path)
    with pytest.raises(ZeroDivisionError), lock.holding(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
        raise ZeroDivisionError
    lock.check_free(tmp_path)


def test_a_holder_that_is_not_named_is_another_process(tmp_path):
    with lock.holding(tmp_path):
        (tmp_path / "lock").write_text("{")
        with pytest.raises(InputError, match="in use by another process"):
            lock.check_free(tmp_path)


def test_a_folder_that_does_not_exist_is_free_and_stays_away(tmp_path):
    lock.check_free(tmp_path / "none")
    assert not (tmp_path / "none").exists()
