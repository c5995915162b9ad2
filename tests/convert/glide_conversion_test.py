"""GLIDE's files are recognised, become runs, and are written again bit for bit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ldm_jax import cli, convert, runs
from ldm_jax import config as c
from ldm_jax.convert.glide import recognised
from ldm_jax.encoders.tokenizers import gpt2
from ldm_jax.encoders.tokenizers.byte_pairs import characters
from ldm_jax.errors import InputError
from ldm_jax.weights import table
from ldm_jax.weights.formats.files import read_weights, write_weights

CONFIGS = Path(__file__).parents[2] / "configs" / "glide"
PUBLISHED = ("text2im", "inpaint", "upsample", "upsample-inpaint")
UNET = c.UNet(
    channels=64,
    channel_mults=(1, 1, 2),
    num_res_blocks=1,
    attention_factors=(2,),
    head_channels=64,
    scale_shift=True,
    resample_blocks=True,
    joint_attention=True,
)
TEXT = c.GLIDEText(
    dim=64, layers=1, num_heads=1, head_dim=64, length=5, vocab_size=259, vector_dim=256
)


def shapes(experiment):
    return table.shapes(experiment.original_names().table)


def small(name):
    """One of the published models with narrow networks."""
    given = cli.load_config(CONFIGS / f"{name}.py")
    return replace(given, model=UNET, conditions=(TEXT, *given.conditions[1:]))


@pytest.fixture(name="words")
def _words(tmp_path):
    """A folder with the files of a tokenizer of as many tokens."""
    pieces = [*characters(), "re", "red", gpt2.PADDING]
    (tmp_path / "encoder.json").write_text(json.dumps({x: n for n, x in enumerate(pieces)}))
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\nr e\nre d\n")
    return tmp_path


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_of_the_four_is_known_by_its_shapes(name):
    expected = cli.load_config(CONFIGS / f"{name}.py")
    found = recognised(shapes(expected))
    for field in ("model", "conditions", "diffusion", "loss", "sampling", "latent_scale"):
        assert getattr(found, field) == getattr(expected, field)
    assert found.data.image_size == expected.data.image_size
    assert recognised(shapes(small(name))).model == UNET


def test_the_published_base_has_the_published_number_of_weights():
    counted = {
        name: table.count(cli.load_config(CONFIGS / f"{name}.py").original_names().table)
        for name in ("text2im", "upsample")
    }
    assert counted == {"text2im": 385_030_726, "upsample": 398_361_286}


@pytest.mark.parametrize("name", ["text2im", "upsample-inpaint"])
def test_a_file_becomes_a_run_and_is_written_again(name, words, tmp_path):
    rng = np.random.default_rng(0)
    state = {key: np.float32(rng.normal(size=s)) for key, s in shapes(small(name)).items()}
    write_weights(tmp_path / "base.pt", state)
    run = tmp_path / "run"
    convert.convert(tmp_path / "base.pt", run, tokenizer=words)
    described = runs.describe(run)
    assert described.experiment.conditions == small(name).conditions
    assert described.tokenizers["tokens"].get_vocab_size() == 259
    convert.convert(run, tmp_path / "again.pt")
    again = read_weights(tmp_path / "again.pt")
    assert sorted(again) == sorted(state)
    assert all(np.array_equal(again[key], state[key]) for key in state)


def test_files_of_other_channels_or_with_a_weight_too_few_are_refused(tmp_path, words):
    state = {key: np.zeros(shape, np.float32) for key, shape in shapes(small("text2im")).items()}
    state["input_blocks.0.0.weight"] = np.zeros((64, 4, 3, 3), np.float32)
    write_weights(tmp_path / "base.pt", state)
    with pytest.raises(InputError, match=r"takes 4 channels: expected 3 \(base\), 7"):
        convert.convert(tmp_path / "base.pt", tmp_path / "run", tokenizer=words)
    state["input_blocks.0.0.weight"] = np.zeros((64, 3, 3, 3), np.float32)
    del state["transformer_proj.bias"]
    write_weights(tmp_path / "other.pt", state)
    with pytest.raises(InputError, match=r"transformer_proj\.bias is missing"):
        convert.convert(tmp_path / "other.pt", tmp_path / "run", tokenizer=words)
    assert not (tmp_path / "run").exists()
