"""Training some arrays alone: how many is said, and none is an error before anything is written."""

from dataclasses import replace

import jax.numpy as jnp
import pytest

from ldm_jax import training
from ldm_jax.errors import InputError
from ldm_jax.training.checked import check_train_only
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


def test_what_trains_is_counted(capsys):
    params = {"denoiser": {"mid_attn": {"q": jnp.ones((2, 3))}, "conv": jnp.ones(4)}, "other": {}}
    model = experiment(None, "attn")
    check_train_only("diffusion", model, params, ("denoiser",))
    assert "diffusion: trains 6 of 10 values, 1 of 2 arrays" in capsys.readouterr().out
    check_train_only("diffusion", experiment(None, None), params, ("denoiser",))
    assert capsys.readouterr().out == ""
