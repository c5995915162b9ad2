"""The files in which diffusers keeps weights."""

import json

import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.weights.formats import diffusers_folder
from ldm_jax.weights.formats.files import write_weights
from tests.support.torch_files import WRITERS

STATE = {"a.weight": np.arange(3, dtype="f"), "b.weight": np.ones((2, 2), "f")}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    return tmp_path


def write(folder, name, state=STATE):
    write_weights(folder / name, state)


def write_shards(folder, variant=""):
    names = {"a.weight": f"x{variant}-1.safetensors", "b.weight": f"x{variant}-2.safetensors"}
    for key, name in names.items():
        write(folder, name, {key: STATE[key]})
    index = folder / f"diffusion_pytorch_model.safetensors.index{variant}.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))


def assert_read(place, *files):
    found = diffusers_folder.read(place)
    assert tuple(file.name for file in found.files) == files
    assert found.settings == {"_class_name": "AutoencoderKL"}
    assert set(found.state) == set(STATE)
    for key in STATE:
        np.testing.assert_array_equal(found.state[key], STATE[key])


def test_what_is_written_is_read(tmp_path):
    diffusers_folder.write(tmp_path, {"_class_name": "AutoencoderKL"}, STATE)
    assert_read(tmp_path, "diffusion_pytorch_model.safetensors")


def test_one_file_of_either_kind(folder):
    WRITERS["zip"](folder / "diffusion_pytorch_model.bin", STATE)
    assert_read(folder, "diffusion_pytorch_model.bin")
    write(folder, "diffusion_pytorch_model.safetensors")
    assert_read(folder, "diffusion_pytorch_model.safetensors")


@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_several_files(folder, variant):
    write_shards(folder, variant)
    assert_read(folder, f"x{variant}-1.safetensors", f"x{variant}-2.safetensors")


def test_full_precision_comes_first(folder):
    write(folder, "diffusion_pytorch_model.fp16.safetensors")
    assert_read(folder, "diffusion_pytorch_model.fp16.safetensors")
    write_shards(folder)
    assert_read(folder, "x-1.safetensors", "x-2.safetensors")


def test_the_autoencoder_of_a_pipeline(folder):
    (folder / "vae").mkdir()
    (folder / "config.json").rename(folder / "vae" / "config.json")
    write(folder / "vae", "diffusion_pytorch_model.safetensors")
    assert_read(folder, "diffusion_pytorch_model.safetensors")
    assert diffusers_folder.find(folder) == folder / "vae"


def test_names_of_attention_are_todays(folder):
    old = {"encoder.mid_block.attentions.0.query.bias": np.zeros(2, "f")}
    write(folder, "diffusion_pytorch_model.safetensors", old)
    assert list(diffusers_folder.read(folder).state) == ["encoder.mid_block.attentions.0.to_q.bias"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "{", "config.json' cannot be read .*JSON"),
        ("config.json", "[1, 2]", "expected an object of names and values"),
        ("diffusion_pytorch_model.safetensors.index.json", "{}", "has no weight_map"),
        ("diffusion_pytorch_model.safetensors.index.json", '{"weight_map": {"a": "y"}}', "y is no"),
        ("other.txt", "", "has no weights: expected diffusion_pytorch_model.safetensors"),
    ],
)
def test_what_cannot_be_read(folder, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=message):
        diffusers_folder.read(folder)


def test_no_such_folder(tmp_path):
    assert diffusers_folder.find(tmp_path / "nowhere") is None
    with pytest.raises(InputError, match=r"has no config\.json"):
        diffusers_folder.read(tmp_path)
