"""Files of adapters: of half precision they draw as their numbers do, damaged ones are one line."""

import numpy as np
import pytest
from PIL import Image

from ldm_jax import runs
from ldm_jax.adapters.settings import Base
from ldm_jax.config import ControlNet, ImageEncoder, IPAdapter, LoRA, T2IAdapter
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


KINDS = {
    "style": LoRA(rank=2),
    "control": ControlNet(stem=(4, 8)),
    "pyramid": T2IAdapter(),
    "prompt": IPAdapter(tokens=2, encoder=ImageEncoder(dim=6)),
}


@pytest.fixture(scope="module")
def states(caption_run):
    """Names and arrays of a file of each."""
    trained = runs.load(caption_run)
    base = Base(trained.experiment, trained.model, trained.tokenizers)

    def state(config):
        own = tiny.drawn(lambda key: config.build(base).init(key, trained.params))
        return config.to_file(own, base)

    return {name: state(config) for name, config in KINDS.items()}


def written(folder, states, *dtypes):
    """Files of the arrays, which are given one type after the other."""
    for name, (arrays, metadata) in states.items():
        for dtype in dtypes:
            arrays = {key: x.astype(dtype) for key, x in arrays.items()}
        write_weights(folder / f"{name}.safetensors", arrays, metadata=metadata)
    return [f"{folder / name}.safetensors:2" for name in states]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_files_of_half_precision_are_the_numbers_in_them(dtype, caption_run, tmp_path, states):
    kinds = {"half": (dtype,), "whole": (dtype, np.float32)}
    half, whole = (
        runs.with_weights(runs.attach(runs.describe(caption_run), files)).params
        for files in (written(tmp_path / kind, states, *each) for kind, each in kinds.items())
    )
    tiny.assert_same(half, whole)


def test_files_of_half_precision_draw(caption_run, tmp_path, states, draw):
    files = written(tmp_path / "half", states, "float16")
    np.save("prompt.npy", np.ones((1, 6), np.float32))
    Image.fromarray(np.eye(tiny.SIZE, dtype=np.uint8) * 255).save("edges.png")
    words = ["--hint", "control=edges.png", "pyramid=edges.png", "--image-prompt", "prompt.npy"]
    draw(caption_run, "--num", 1, "--steps", 1, "--adapter", *files, *words, "--out", "drawn")
    with np.load("drawn/samples.npz") as images:
        assert np.std(images["arr_0"]) > 0
