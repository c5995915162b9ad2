"""Files of adapters that are damaged: one line with the file's name."""

import numpy as np
import pytest

from ldm_jax import runs
from ldm_jax.adapters.settings import Base
from ldm_jax.config import ControlNet
from ldm_jax.errors import InputError
from ldm_jax.weights.formats.files import write_weights
from tests.support import tiny


@pytest.fixture(scope="module")
def state():
    """A ControlNet by its names in diffusers."""
    experiment = tiny.experiment()
    model, params, _ = tiny.model(experiment)
    config, base = ControlNet(stem=(4, 8), layout="diffusers"), Base(experiment, model)
    return config.to_file(tiny.drawn(lambda key: config.build(base).init(key, params)), base)[0]


def attached(run, folder, state, config: bytes):
    write_weights(folder / "diffusion_pytorch_model.safetensors", state)
    (folder / "config.json").write_bytes(config)
    return runs.attach(runs.describe(run), [str(folder)]).adapters[0].settings


def test_a_folder_of_diffusers_is_attached(caption_run, tmp_path, state):
    found = attached(caption_run, tmp_path, state, b'{"global_pool_conditions": true}')
    assert found.pooled
    assert found.stem == (4, 8)


@pytest.mark.parametrize("config", [b"{", b"[]", b"\xff"])
def test_settings_that_are_none_are_refused(config, caption_run, tmp_path, state):
    with pytest.raises(InputError, match=r"config\.json' .*expected an object of names"):
        attached(caption_run, tmp_path, state, config)


def test_an_array_without_axes_is_refused(caption_run, tmp_path, state):
    damaged = {**state, "controlnet_cond_embedding.conv_in.weight": np.zeros((), np.float32)}
    with pytest.raises(InputError, match=r"cannot be read .*expected a ControlNet as published"):
        attached(caption_run, tmp_path, damaged, b"{}")
