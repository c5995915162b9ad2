"""CLIP from the files of others and back."""

import json
from dataclasses import replace
from typing import get_args

import jax
import numpy as np
import pytest

from ldm_jax import convert, runs, training
from ldm_jax.config import CLIPName, Optim, Train
from ldm_jax.encoders.clip.model import MODELS, init
from ldm_jax.encoders.tokenizers import clip
from ldm_jax.errors import InputError
from ldm_jax.runs import write_imported
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.names.clip import both_encoders
from ldm_jax.weights.names.clip_file import recognised
from ldm_jax.weights.table import shapes, to_original
from tests.commands.clip_command_test import experiment
from tests.support import tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny CLIP with a tokenizer of its own."""
    pieces = clip.learn(["a red block", "a blue block"], 520, 12, "openai")
    made = experiment("nowhere")
    made = replace(made, model=replace(made.model, vocab_size=pieces.get_vocab_size()))
    params = init(made.build(), jax.random.key(0)) | {"log_scale": np.float32(2.5)}
    place = tmp_path_factory.mktemp("runs") / "clip"
    write_imported(place, made, {"clip": params}, None, {"tokens": pieces})
    return place


def same(run, other):
    first, second = runs.load_clip(run), runs.load_clip(other)
    tiny.assert_same(first.params, second.params)
    assert first.model == second.model
    assert first.tokenizer.encode("a red cat").ids == second.tokenizer.encode("a red cat").ids


def test_a_folder_of_transformers_comes_back_as_it_went_out(run, tmp_path):
    convert.convert(run, tmp_path / "folder")
    convert.convert(tmp_path / "folder", tmp_path / "back")
    same(run, tmp_path / "back")
    convert.convert(tmp_path / "back", tmp_path / "again")
    for path in sorted((tmp_path / "folder").iterdir()):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_so_does_a_file_in_the_names_of_openai(run, tmp_path):
    file = tmp_path / "clip.safetensors"
    convert.convert(run, file)
    config, tokenizer = run / "config.py", run / "tokenizer.json"
    convert.convert(file, tmp_path / "back", config, tokenizer)
    same(run, tmp_path / "back")
    convert.convert(tmp_path / "back", tmp_path / "again.safetensors")
    assert file.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


@pytest.mark.parametrize("layout", ["transformers", "openclip"])
@pytest.mark.parametrize("name", MODELS)
def test_published_models_are_recognised_by_their_shapes(name, layout):
    of = MODELS[name]
    found = shapes(both_encoders(of, layout))
    if layout == "openclip" and of.weights == "openai":
        found["input_resolution"] = ()  # as in OpenAI's own files
    if layout == "transformers":
        of = of._replace(weights="openai")  # a guess, which is said
    assert recognised(found) == of


def test_a_guess_is_said(run, tmp_path, capsys):
    file = tmp_path / "clip.pt"
    convert.convert(run, file)
    convert.convert(file, tmp_path / "back", tokenizer=run / "tokenizer.json")
    assert "heads and activation are guesses: 1 and 1 heads" in capsys.readouterr().out
    assert runs.load_clip(tmp_path / "back").model.weights == "openclip"


def altered(folder, key, value):
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | {key: value}))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "dim",
            r"text_projection.weight has shape \(6, 8\): expected \(7, 8\), and so have 1 more",
        ),
        ("kind", "config.json is of siglip: expected clip"),
        ("scale", "logit_scale is missing"),
        ("tokenizer", "no tokenizer of CLIP|tokens and the model"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_written(run, tmp_path, what, said):
    folder = tmp_path / "folder"
    convert.convert(run, folder)
    if what == "dim":
        altered(folder, "projection_dim", 7)
    elif what == "kind":
        altered(folder, "model_type", "siglip")
    elif what == "scale":
        weights = dict(read_weights(folder / "model.safetensors"))
        del weights["logit_scale"]
        write_weights(folder / "model.safetensors", weights)
    else:
        for name in ("tokenizer.json", "merges.txt"):
            (folder / name).unlink()
    with pytest.raises(InputError, match=said):
        convert.convert(folder, tmp_path / "back")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder"]


def test_the_encoders_alone_are_those_of_the_file(run, tmp_path):
    convert.convert(run, tmp_path / "folder")
    found = runs.load_clip(run)
    encoders = {name: x for name, x in found.params.items() if name != "log_scale"}
    expected = to_original(both_encoders(found.model, "transformers"), encoders)
    written = read_weights(tmp_path / "folder" / "model.safetensors")
    assert set(written) == {*expected, "logit_scale"}
    for key, weight in expected.items():
        np.testing.assert_array_equal(written[key], weight)
    assert written["logit_scale"] == np.float32(2.5)


def test_every_published_model_can_be_asked_for_by_name():
    assert set(get_args(CLIPName)) == set(MODELS)


def test_training_goes_on_from_what_was_imported(run, image_folder, tmp_path):
    convert.convert(run, tmp_path / "folder")
    convert.convert(tmp_path / "folder", tmp_path / "imported")
    made = experiment(image_folder, optim=Optim(lr=1e-12), train=Train(steps=1))
    training.train(made, tmp_path / "run", init_from=tmp_path / "imported")
    first, last = runs.load_clip(run), runs.load_clip(tmp_path / "run")
    assert last.tokenizer.to_str() == first.tokenizer.to_str()
    for old, new in zip(*map(jax.tree.leaves, (first.params, last.params)), strict=True):
        np.testing.assert_allclose(new, old, rtol=0, atol=1e-9)  # hardly anything was learned
