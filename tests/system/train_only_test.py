"""Training some arrays alone: how many is said, and none is an error before anything is written."""

from dataclasses import replace

import jax.numpy as jnp
import pytest

from ldm_jax import training
from ldm_jax.errors import InputError
from ldm_jax.train_step.state import Objective
from ldm_jax.training.checked import check_train_only
from ldm_jax.training.task import Task
from tests.support import tiny


def experiment(path, wanted):
    base = tiny.experiment(path)
    return replace(base, optim=replace(base.optim, train_only=wanted))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("/attention/", "optim.train_only is '/attention/': expected to find it in the name of an"),
        ("attn(", r"optim.train_only is 'attn\(': expected a regular expression"),
    ],
)
def test_what_matches_nothing_is_refused(image_folder, tmp_path, wanted, said):
    with pytest.raises(InputError, match=said):
        training.train(experiment(image_folder, wanted), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_left_of_trained_parts_is_known():
    """But for parts that change otherwise than by gradients."""
    params = {"net": {"q": {"w": 1}, "k": {"w": 2}}, "other": {"w": 3}, "codes": {"w": 4}}
    objective = Objective(("net", "codes"), (), None, helpers=("codes",))
    task = Task("test", experiment(None, "q/"), None, {}, (), None, params, objective)
    assert task.untrained(params) == {"net": {"k": {"w": 2}}}
    assert not task._replace(experiment=experiment(None, None)).untrained(params)


def test_what_trains_is_counted(capsys):
    params = {"denoiser": {"mid_attn": {"q": jnp.ones((2, 3))}, "conv": jnp.ones(4)}, "other": {}}
    model = experiment(None, "attn")
    check_train_only("diffusion", model, params, ("denoiser",))
    assert "diffusion: trains 6 of 10 values, 1 of 2 arrays" in capsys.readouterr().out
    check_train_only("diffusion", experiment(None, None), params, ("denoiser",))
    assert capsys.readouterr().out == ""
