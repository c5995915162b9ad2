"""CLIP, from train.py to zero-shot classification."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import evaluate as tool
import numpy as np
import pytest
from PIL import Image

from ldm_jax import checkpoint, cli, runs, training
from ldm_jax.config import CLIPExperiment, CLIPModel, Data, Optim, Train
from ldm_jax.encoders.clip.model import MODELS, embed_captions, embed_images
from ldm_jax.encoders.clip.vision import normalised
from ldm_jax.encoders.tokenizers.tokenizer import encode
from ldm_jax.errors import InputError
from ldm_jax.weights.formats.files import write_weights
from ldm_jax.weights.names.clip import both_encoders
from ldm_jax.weights.table import to_original
from tests.support import tiny

CLASSES = sorted(tiny.COLORS)
TEMPLATES = ("a {} block at the top", "a {} block at the bottom")


def experiment(folder: Path, **changes) -> CLIPExperiment:
    """The smallest CLIP, four steps."""
    default = CLIPExperiment(
        model=CLIPModel(
            dim=6,
            patch=4,
            vision_channels=8,
            vision_layers=1,
            vision_heads=2,
            text_channels=8,
            text_layers=1,
            text_heads=2,
            length=12,
            vocab_size=530,
        ),
        data=Data(path=str(folder), image_size=tiny.SIZE, batch_size=8),
        optim=Optim(lr=1e-2, warmup=2, ema_decay=0.9),
        train=Train(steps=4, save_every=2, log_every=1, sample_every=0),
    )
    return replace(default, **changes)


@pytest.fixture(scope="module")
def clip_run(image_folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "clip"
    training.train(experiment(image_folder), run)
    return run


def test_a_resumed_run_is_the_same_bit_for_bit(clip_run, tmp_path):
    run = Path(shutil.copytree(clip_run, tmp_path / "again"))
    shutil.rmtree(run / "checkpoints" / "4")  # as if it had died before
    assert checkpoint.latest_step(run) == 2
    training.train(cli.load_config(run / "config.py"), run)
    for step in (2, 4):
        tiny.assert_same(tiny.saved(run, step), tiny.saved(clip_run, step))
    assert tiny.rows(run) == tiny.rows(clip_run)
    assert {"loss", "accuracy", "logit_scale"} <= tiny.rows(run)[0].keys()


def test_it_reads_by_the_byte_pairs_of_its_captions(clip_run):
    found = runs.load_clip(clip_run)
    pieces = found.tokenizer.get_vocab_size()
    assert found.experiment.model.vocab_size == pieces <= 530
    assert found.params["text"]["token"]["embedding"].shape == (pieces, 8)
    assert len(found.tokenizer.encode("a red block").ids) == 12
    tiny.assert_same(found.params, tiny.saved(clip_run, 4)["ema"]["clip"])


def sorted_by(*words) -> dict:
    given = ["--templates", *TEMPLATES, "--split", "train", "--batch-size", "4", "--out", "out"]
    tool.main(["zero-shot", *map(str, words[:2]), *given, *words[2:]])
    return json.loads(Path("out/zero-shot.json").read_text())


@pytest.fixture(scope="module")
def expected(clip_run, image_folder):
    """The cosines of all images with the directions of all classes, [16, 4], and labels."""
    found = runs.load_clip(clip_run)

    def unit(x):
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    captions = [template.format(name) for name in CLASSES for template in TEMPLATES]
    tokens = np.stack([encode(found.tokenizer, caption) for caption in captions])
    y = unit(np.asarray(embed_captions(found.model, found.params, tokens)))
    rows = [json.loads(row) for row in (image_folder / "metadata.jsonl").read_text().splitlines()]
    images = [np.asarray(Image.open(image_folder / row["file_name"])) for row in rows]
    x = embed_images(found.model, found.params, normalised(np.float32(images) / 255))
    logits = unit(np.asarray(x)) @ unit(unit(y).reshape(4, 2, -1).mean(axis=1)).T
    return logits, np.array([CLASSES.index(row["label"]) for row in rows])


def assert_sorted_alike(report, expected):
    logits, labels = expected
    found = np.argmax(logits, axis=1)
    assert report["top-1"] == pytest.approx(np.mean(found == labels))
    assert report["top-4"] == 1.0
    table = np.array(report["confusion"])
    assert table.sum() == report["num"] == len(labels)
    for i in range(4):
        np.testing.assert_array_equal(table[i], np.bincount(found[labels == i], minlength=4))


def test_a_run_sorts_images_by_the_names_of_classes(
    clip_run, image_folder, expected, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    report = sorted_by(clip_run, image_folder)
    assert_sorted_alike(report, expected)
    assert "zero-shot accuracy: top-1" in capsys.readouterr().out
    Path("names.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    assert sorted_by(clip_run, image_folder, "--classes", "names.txt") == report


def test_so_do_weights_from_elsewhere(clip_run, image_folder, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = runs.load_clip(clip_run)
    monkeypatch.setitem(MODELS, "vit_b32", found.model)
    encoders = {name: x for name, x in found.params.items() if name != "log_scale"}
    named = to_original(both_encoders(found.model, "transformers"), encoders)
    write_weights("model.safetensors", named | {"logit_scale": np.float32(1.0)})
    given = ("--clip", "vit_b32", "--tokenizer", str(clip_run / "tokenizer.json"))
    assert_sorted_alike(sorted_by("model.safetensors", image_folder, *given), expected)


# What is refused


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": CLIPModel(patch=3, vocab_size=530)}, "expected a multiple of model.patch 3"),
        ({"model": CLIPModel(patch=4, text_heads=7)}, "text_heads is 7: expected a divisor of 512"),
        ({"optim": Optim(kind="lion", eps=1e-6)}, "optim.eps is 1e-06 with lion, which has none"),
        ({"data": Data(image_size=8, batch_size=8)}, "data.path is not set"),
        ({"train": Train(best="fid")}, "train.best is fid: expected one of"),
    ],
    ids=["patch", "heads", "eps", "path", "best"],
)
def test_what_cannot_be_trained_is_refused_and_nothing_written(
    image_folder, tmp_path, changes, said
):
    with pytest.raises(InputError, match=said):
        training.train(experiment(image_folder, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_without_captions_are_refused(tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    for i in range(8):
        Image.new("RGB", (8, 8)).save(folder / f"{i}.png")
    with pytest.raises(InputError, match="the data has no captions"):
        training.train(experiment(folder), tmp_path / "run")


def test_a_clip_is_taken_for_nothing_else(clip_run, trained_run):
    with pytest.raises(InputError, match="is a CLIP: expected the run of a diffusion model"):
        runs.describe(clip_run)
    with pytest.raises(InputError, match="is a diffusion model: expected the run of a CLIP"):
        runs.load_clip(trained_run)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--templates", "a photo"), r"expected \{\} for the class"),
        (("--classes", "red", "blue"), "--classes names 2: expected 4"),
        (("--classes", "none.txt"), r"'none.txt' cannot be read \("),
        (("--classes", "empty.txt"), "'empty.txt' has no lines"),
        (("--templates", "latin.txt"), "latin.txt' cannot be read"),
        (("--num", "17"), "--num is 17: expected 1 to 16"),
    ],
)
def test_classes_that_cannot_be_given(clip_run, image_folder, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("\n \n")
    Path("latin.txt").write_bytes("ein Bär {}".encode("latin-1"))
    with pytest.raises(InputError, match=said):
        tool.main(["zero-shot", str(clip_run), str(image_folder), *words, "--split", "train"])
    assert not Path("zero-shot").exists()
