"""Cached encodings of captions train as the captions do."""

import json
import re
from dataclasses import replace

import jax
import numpy as np
import pytest

from ldm_jax import runs, training
from ldm_jax.conditioning.cached import encodings, entry, remembered
from ldm_jax.config import CLIPText, Data
from ldm_jax.data import latents, pipeline
from ldm_jax.encoders.tokenizers import clip
from ldm_jax.encoders.tokenizers.tokenizer import encode, learn
from ldm_jax.errors import InputError
from ldm_jax.tools import cache_latents
from tests.support import tiny

CLIP = CLIPText(dim=8, layers=1, num_heads=2, head_dim=4, length=10, vocab_size=516, drop=0.5)
MERGES = "#version: 0.2\na b\nc d</w>\n"


def imported(run, experiment, seed=0):
    """The run of a model with drawn weights."""
    run.parent.mkdir(exist_ok=True)
    merges, condition = run.with_name("merges.txt"), experiment.conditions[0]
    merges.write_text(MERGES)
    if isinstance(condition, CLIPText):
        tokenizer = clip.load(merges, condition.length, condition.weights)
        condition = replace(condition, tokenizer=str(merges))
    else:
        tokenizer = learn(["a red block"], condition.vocab_size, condition.length)
        condition = replace(condition, vocab_size=tokenizer.get_vocab_size())
    first = replace(experiment.first_stage, data=experiment.data)
    experiment = replace(experiment, conditions=(condition,), first_stage=first)
    model = experiment.build({"tokens": tokenizer})
    params = tiny.drawn(model.init, seed=seed)
    params["first_stage"] = tiny.drawn(model.first_stage.init)
    runs.write_imported(run, experiment, params, tokenizers={"tokens": tokenizer})
    return experiment


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, each with two captions."""
    root = tiny.write_folder(tmp_path_factory.mktemp("two") / "images")
    rows = map(json.loads, (root / "metadata.jsonl").read_text().splitlines())
    rows = [json.dumps({**row, "text": ["two words", row["text"]]}) for row in rows]
    (root / "metadata.jsonl").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory):
    """The run of a model with a frozen text encoder, and its experiment."""
    run = tmp_path_factory.mktemp("frozen") / "model"
    return run, imported(run, tiny.experiment(folder, conditions=(CLIP,)))


def cache(model, folder, out, *words, reader=None):
    words = ("--shards", "2", "--batch-size", "5", "--embed-text", str(reader or model), *words)
    cache_latents.cache_latents(model, str(folder), out, words, "")


@pytest.fixture(scope="module")
def cached(model, folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("cached") / "latents"
    cache(model[0], folder, out)
    return out


def test_what_is_kept_is_the_output_of_the_encoder(cached, model):
    trained = runs.load(model[0])
    source = latents.Source(str(cached))
    read = jax.jit(
        lambda x: encodings(trained.model.conditioner.apply(trained.params["conditioner"], x))
    )
    for i in (0, 7, 15):
        record = source[i]
        assert record["text"][0] == "two words"
        numbers = np.stack([encode(trained.tokenizers["tokens"], text) for text in record["text"]])
        expected = read({"tokens": numbers})["tokens"]
        assert expected.shape == (2, CLIP.length, CLIP.dim)
        np.testing.assert_allclose(record["answers"]["tokens"], expected, atol=1e-5)
    empty = read({"tokens": encode(trained.tokenizers["tokens"], "")[None]})["tokens"][0]
    np.testing.assert_allclose(source.empty()["tokens"], empty, atol=1e-5)


def test_a_batch_has_the_encodings_of_the_captions_that_it_would_have(cached, model):
    data = Data(path=str(cached), image_size=tiny.SIZE, batch_size=8, flip=True)
    trained = runs.load(model[0])
    source, _ = pipeline.open_source(data)

    def tokenize(caption):
        return encode(trained.tokenizers["tokens"], caption)

    online = next(
        pipeline.batches(data, source, seed=3, keys=("tokens",), tokenize={"tokens": tokenize})
    )
    kept = next(pipeline.batches(data, source, seed=3, keys=(entry("tokens"),)))
    np.testing.assert_array_equal(kept["image"], online["image"])
    expected = trained.model.conditioner.apply(trained.params["conditioner"], online).tokens
    np.testing.assert_allclose(kept[entry("tokens")], expected, atol=1e-5)
    assert len(np.unique(np.round(expected, 3), axis=0)) > 2  # either caption of several images


def test_training_on_them_is_training_on_captions(cached, model, folder, tmp_path):
    """The same losses, those of hidden captions included."""
    run, experiment = model
    given = replace(experiment, data=replace(experiment.data, flip=True))
    data = replace(given.data, path=str(cached))
    training.train(given, tmp_path / "online", init_from=run)
    training.train(replace(given, data=data), tmp_path / "kept", init_from=run)
    online, kept = (tiny.rows(tmp_path / name) for name in ("online", "kept"))
    assert len(online) == 4
    for row, other in zip(online, kept, strict=True):
        np.testing.assert_allclose(float(other["loss"]), float(row["loss"]), rtol=1e-4)
    found, expected = (runs.load(tmp_path / name).params for name in ("kept", "online"))
    tiny.assert_same(found["conditioner"], expected["conditioner"])
    tiny.assert_close(found["denoiser"], expected["denoiser"], atol=2e-3)

    other = tmp_path / "other"
    imported(other, tiny.experiment(folder, conditions=(CLIP,)), seed=1)
    with pytest.raises(InputError, match="read by a conditioner with digest"):
        training.train(replace(given, data=data), tmp_path / "refused", init_from=other)


def test_the_encoder_is_not_read(cached, model):
    conditioner = runs.describe(model[0]).model.conditioner
    source = latents.Source(str(cached))
    keeping = remembered(conditioner, source.empty())
    kept = source[3]["answers"]["tokens"]
    cond = keeping.apply(None, {entry("tokens"): kept})  # no params
    np.testing.assert_array_equal(cond.tokens, kept)
    null = keeping.apply(None, keeping.null(3)).tokens
    np.testing.assert_array_equal(null, np.stack([source.empty()["tokens"]] * 3))


def test_half_as_many_bytes_hold_them_a_little_rounded(cached, model, folder, tmp_path, capsys):
    cache(model[0], folder, tmp_path / "half", "--dtype", "float16", "--flips", "False")
    said = capsys.readouterr().out
    assert re.search(r"latents of 4 x 4 x 2 and captions as 10 x 8, \d+\.\d MiB;", said)
    half, whole = (latents.Source(str(place))[2] for place in (tmp_path / "half", cached))
    assert half["answers"]["tokens"].dtype == np.float16
    np.testing.assert_allclose(half["answers"]["tokens"], whole["answers"]["tokens"], atol=2e-3)


def test_what_cannot_be_kept_is_refused(model, cached, class_run, folder, tmp_path):
    def refused(message, reader):
        with pytest.raises(InputError, match=message):
            cache(model[0], folder, tmp_path / "out", reader=reader)
        assert not (tmp_path / "out").exists()

    imported(tmp_path / "joint", tiny.experiment(folder))
    refused("the condition Text, which is trained with the denoiser", tmp_path / "joint")
    refused("the condition Label: expected captions", class_run)
    with pytest.raises(InputError, match=r"latents whose conditioner is \w+: expected"):
        cache_latents.cache_latents(model[0], str(folder), cached, ("--shards", "2"), "")
