"""Config files share a base: from anywhere, and each folder its own."""

import sys

import pytest

from ldm_jax.config import Experiment
from ldm_jax.errors import InputError
from ldm_jax.runs.config_file import load_config

BASE = "from ldm_jax.config import *\nbase = Experiment(seed={seed})"
CONFIG = "from base import *\nconfig = replace(base, latent_scale=2.0)"


@pytest.fixture
def families(tmp_path):
    for seed in (1, 2):
        folder = tmp_path / f"family{seed}"
        folder.mkdir()
        (folder / "base.py").write_text(BASE.format(seed=seed))
        (folder / "a.py").write_text(CONFIG)
    return tmp_path


def test_each_folder_has_its_own_base(families, monkeypatch):
    monkeypatch.chdir(families)
    monkeypatch.setitem(sys.modules, "base", sys)
    for seed in (1, 2, 1):
        assert load_config(f"family{seed}/a.py") == Experiment(seed=seed, latent_scale=2.0)
    assert sys.modules["base"] is sys
    assert not any("family" in place for place in sys.path)
    assert not list(families.rglob("__pycache__"))


def test_a_base_that_has_changed_is_read_again(families):
    load_config(families / "family1" / "a.py")
    (families / "family1" / "base.py").write_text(BASE.format(seed=3))
    assert load_config(families / "family1" / "a.py").seed == 3


def test_a_config_without_its_base_is_refused(families):
    (families / "family1" / "base.py").unlink()
    with pytest.raises(InputError, match=r"a\.py' imports 'base'.*: expected base\.py in") as error:
        load_config(families / "family1" / "a.py")
    assert "\n" not in str(error.value)


def test_what_is_wrong_in_a_base_is_said_as_in_a_config(families):
    (families / "family1" / "base.py").write_text("from ldm_jax.config import *\nData(pth=1)")
    with pytest.raises(InputError, match="Data has no field 'pth': did you mean 'path'"):
        load_config(families / "family1" / "a.py")
    with pytest.raises(InputError, match=r"base\.py' has no experiment: expected `config"):
        load_config(families / "family2" / "base.py")
