"""Tiny autoencoders become runs, and runs become files, bit for bit."""

import numpy as np
import pytest

from ldm_jax import config as c
from ldm_jax import convert, runs
from ldm_jax.convert import recognise
from ldm_jax.errors import InputError
from ldm_jax.weights import table
from ldm_jax.weights.formats import diffusers_folder
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.names import tiny
from tests.support.torch_files import WRITERS

TINY = c.TinyAutoencoder(channels=8, blocks=(1, 2), z_channels=3)
NORMED = c.TinyAutoencoder(channels=8, blocks=(2,), z_channels=5, mid_norm=True)
TORCH = next(iter(WRITERS.values()))


def drawn(names):
    """A state dict of other numbers in every place."""
    rng = np.random.default_rng(0)
    return {k: rng.normal(size=s).astype(np.float32) for k, s in table.shapes(names).items()}


def halves(state):
    return {
        part: {k.removeprefix(f"{part}."): w for k, w in state.items() if k.startswith(part)}
        for part in ("encoder", "decoder")
    }


def assert_equal(found, expected):
    assert set(found) == set(expected)
    for key, w in expected.items():
        np.testing.assert_array_equal(found[key], w, err_msg=key, strict=True)


@pytest.mark.parametrize("model", [TINY, NORMED], ids=["plain", "normed"])
@pytest.mark.parametrize("given", ["encoder", "decoder"])
def test_from_the_two_published_files_and_back(model, given, tmp_path, capsys):
    state = drawn(model.original_names())
    for part, half in halves(state).items():
        TORCH(tmp_path / f"tae_{part}.pth", half)
    convert.convert(tmp_path / f"tae_{given}.pth", tmp_path / "run")
    assert runs.load_first_stage_config(tmp_path / "run").model == model
    convert.convert(tmp_path / "run", tmp_path / "b.safetensors")
    assert_equal(read_weights(tmp_path / "b.safetensors"), state)
    said = capsys.readouterr().out
    assert "tiny autoencoder, downsampling factor" in said
    assert "encoder from tae_encoder.pth, decoder from tae_decoder.pth" in said
    convert.convert(tmp_path / "b.safetensors", tmp_path / "again")
    assert runs.load_first_stage_config(tmp_path / "again").model == model


def test_from_diffusers_and_back(tmp_path):
    description = convert.Description(TINY, 256, (0.0,) * 3, (0.5,) * 3)
    state = drawn(TINY.diffusers_names())
    (tmp_path / "a").mkdir()
    diffusers_folder.write(tmp_path / "a", TINY.diffusers_config(description), state)
    convert.convert(tmp_path / "a", tmp_path / "run")
    experiment = runs.load_first_stage_config(tmp_path / "run")
    assert experiment.model == TINY
    params = runs.load_first_stage(tmp_path / "run", TINY.build())
    np.testing.assert_array_equal(params["scale"], np.full(3, 0.5))
    convert.convert(tmp_path / "run", tmp_path / "b")
    assert_equal(diffusers_folder.read(tmp_path / "b").state, state)
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    file = tmp_path / "b" / "diffusion_pytorch_model.safetensors"
    convert.convert(file, tmp_path / "without_config")
    assert runs.load_first_stage_config(tmp_path / "without_config").model == TINY


def assert_refused(message, tmp_path, source, destination="run"):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=message):
        convert.convert(tmp_path / source, tmp_path / destination)
    assert sorted(tmp_path.rglob("*")) == before


def test_one_half_alone_is_refused(tmp_path):
    half = halves(drawn(TINY.original_names()))["decoder"]
    TORCH(tmp_path / "tae_decoder.pth", half)
    assert_refused("expected tae_encoder.pth beside", tmp_path, "tae_decoder.pth")
    TORCH(tmp_path / "half.pth", half)
    assert_refused("expected a name such as taesd_encoder.pth", tmp_path, "half.pth")


def test_what_is_missing_is_named(tmp_path):
    state = drawn(TINY.original_names())
    del state["decoder.1.bias"]
    write_weights(tmp_path / "a.safetensors", state)
    assert_refused(r"decoder\.1\.bias is missing: expected shape", tmp_path, "a.safetensors")


def test_what_diffusers_has_not_is_not_written_for_it(tmp_path):
    write_weights(tmp_path / "a.safetensors", drawn(NORMED.original_names()))
    convert.convert(tmp_path / "a.safetensors", tmp_path / "run")
    assert_refused("model.mid_norm is True: expected False", tmp_path, "run", "folder")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"act_fn": "silu"}, "act_fn is 'silu': expected 'relu'"),
        ({"num_decoder_blocks": [1, 2]}, "expected the same, backwards"),
        ({"encoder_block_out_channels": [8, 16]}, "expected one number at all levels"),
    ],
)
def test_another_config_of_diffusers_is_refused_by_its_field(changes, message):
    config = tiny.diffusers_config(convert.Description(TINY, 256, (0.0,) * 3, (1.0,) * 3))
    assert recognise.of_diffusers(config).model == TINY
    with pytest.raises(InputError, match=message):
        recognise.of_diffusers(config | changes)


def test_the_defaults_of_diffusers_are_the_published_taesd():
    description = recognise.of_diffusers({"_class_name": "AutoencoderTiny"})
    assert description.model == c.TinyAutoencoder()
    assert (description.shift, description.scale) == ((0.0,) * 4, (1.0,) * 4)


def test_an_mlp_has_no_names_elsewhere():
    with pytest.raises(InputError, match="MLPAutoencoder is published nowhere"):
        c.MLPAutoencoder().original_names()
