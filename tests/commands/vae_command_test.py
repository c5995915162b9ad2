"""A variational autoencoder by the command line: trained, drawn from, walked through, measured."""

import json
import sys
from dataclasses import replace

import evaluate
import numpy as np
import pytest
from PIL import Image

import sample
from ldm_jax import cli, training
from ldm_jax.config import AutoencoderLoss, FirstStageExperiment, MLPAutoencoder, TinyAutoencoder
from tests.support import tiny

LIKELIHOOD = AutoencoderLoss(reconstruction="likelihood", kl_weight=1.0)
OWN = AutoencoderLoss(reconstruction="likelihood")
TINY = TinyAutoencoder(channels=4, blocks=(1, 1), z_channels=2)
MODEL = MLPAutoencoder(image_size=tiny.SIZE, image_channels=3, hidden=8, z_channels=3)


def experiment(folder, **changes):
    first = training.inherit(tiny.experiment(folder).first_stage, tiny.experiment(folder).data)
    assert isinstance(first, FirstStageExperiment)
    return replace(first, **{"model": MODEL, "loss": LIKELIHOOD, **changes})


@pytest.fixture(scope="module")
def run(image_folder, tmp_path_factory):
    """A trained run; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "vae"
    training.train(experiment(image_folder), folder)
    return folder


def call(main, monkeypatch, capsys, *words):
    """The exit status, standard output and standard error of a tool."""
    monkeypatch.setattr(sys, "argv", ["tool", *map(str, words)])
    try:
        cli.main(main)
        status = 0
    except SystemExit as stop:
        status = stop.code
    return status, *capsys.readouterr()


def drawn(run, out, *words):
    """The images of sample.py and its report."""
    sample.main([str(run), "--out", str(out), *map(str, words)])
    with np.load(out / "samples.npz") as file:
        (images,) = file.values()
    return images, tiny.flat(json.loads((out / "report.json").read_text()))


def test_training_logs_the_bound(run):
    rows = tiny.rows(run)
    assert len(rows) == 4
    for row in rows:
        terms = float(row["negative_log_likelihood"]) + float(row["kl"])
        np.testing.assert_allclose(float(row["loss"]), terms, rtol=1e-4)


def test_images_are_drawn_from_the_prior_each_from_its_seed(run, tmp_path):
    images, report = drawn(run, tmp_path / "a", "--num", 5, "--seed", 3, "--batch-size", 2)
    assert images.shape == (5, tiny.SIZE, tiny.SIZE, 3)
    assert len({image.tobytes() for image in images}) == 5
    assert {"grid.png", "000004.png"} <= {file.name for file in (tmp_path / "a").iterdir()}
    assert (report["num"], report["seed"], report["checkpoint"]) == (5, 3, 4)
    part, _ = drawn(run, tmp_path / "b", "--num", 2, "--seed", 5)
    np.testing.assert_array_equal(part, images[2:4])


def test_a_row_interpolates_between_two_seeds(run, tmp_path):
    ends, _ = drawn(run, tmp_path / "ends", "--num", 4, "--seed", 9)
    images, report = drawn(run, tmp_path / "walk", "--interpolate", 5, "--num", 10, "--seed", 9)
    rows = images.reshape(2, 5, tiny.SIZE, tiny.SIZE, 3)
    np.testing.assert_allclose(
        rows[:, [0, -1]].reshape(ends.shape).astype(int), ends.astype(int), atol=1
    )
    assert report["interpolate"] == 5
    width, height = Image.open(tmp_path / "walk" / "grid.png").size
    assert width == 5 * (tiny.SIZE + 1) + 1
    assert height == 2 * (tiny.SIZE + 1) + 1


def test_given_latents_are_decoded(run, tmp_path):
    z = np.random.default_rng(0).normal(size=(1, 1, 3))
    np.save(tmp_path / "z.npy", np.stack([z, -z, z]))
    images, _ = drawn(run, tmp_path / "out", "--num", 3, "--latents", tmp_path / "z.npy")
    np.testing.assert_array_equal(images[0], images[2])
    assert np.any(images[0] != images[1])


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ("--steps 3", ["--steps given to a first stage", "diffusion model"]),
        ("--guidance 2", ["--guidance given to a first stage"]),
        ("--prompt cat", ["--prompt given to a first stage"]),
        ("--num 0", ["--num is 0", "at least 1"]),
        ("--seed -1", ["--seed is -1", "expected 0 to"]),
        ("--interpolate 1", ["--interpolate is 1", "at least 2"]),
        ("--interpolate 3 --num 4", ["--num is 4", "multiple of --interpolate", "3"]),
        ("--interpolate 3 --latents z.npy", ["--interpolate 3 and --latents"]),
        ("--latents no.npy --num 2", ["'no.npy' cannot be read", "(2, 1, 1, 3)"]),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(run, monkeypatch, capsys, words, fragments):
    status, out, error = call(sample.main, monkeypatch, capsys, run, *words.split())
    assert (status, out, error.count("\n")) == (2, "", 1)
    for fragment in fragments:
        assert fragment in error


def test_the_bound_is_measured_on_every_image_once(run, monkeypatch, capsys):
    words = "bound", run, "--split", "train", "--batch-size", 6, "--draws", 2
    status, out, _ = call(evaluate.main, monkeypatch, capsys, *words)
    assert status == 0
    assert "(16 images of" in out
    values = {
        line.split(": ")[0]: float(line.split(": ")[1].split()[0]) for line in out.splitlines()
    }
    nats = values["negative log likelihood"] + values["kl"]
    np.testing.assert_allclose(values["negative bound"], nats, atol=0.011)
    bits = nats / np.log(2) / (tiny.SIZE**2 * 3)
    np.testing.assert_allclose(values["bits per dimension"], bits, atol=1e-3)


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ("--num 17", ["--num is 17", "1 to 16"]),
        ("--draws 0", ["--draws is 0", "at least 1"]),
    ],
)
def test_a_measurement_that_cannot_be_is_refused(run, monkeypatch, capsys, words, fragments):
    words = "bound", run, "--split", "train", *words.split()
    status, out, error = call(evaluate.main, monkeypatch, capsys, *words)
    assert (status, error.count("\n")) == (2, 1)
    assert all(line.startswith("data: ") for line in out.splitlines())
    for fragment in fragments:
        assert fragment in error


def test_other_first_stages_have_no_bound(trained_run, monkeypatch, capsys):
    words = "bound", trained_run / "first_stage"
    status, _, error = call(evaluate.main, monkeypatch, capsys, *words)
    assert status == 2
    assert "KLAutoencoder: expected an MLPAutoencoder" in error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": replace(MODEL, image_size=16)}, "data.image_size is 8 and model.image_size 16"),
        ({"model": replace(MODEL, hidden=0)}, "model.hidden is 0: expected at least 1"),
        ({"model": TINY, "loss": OWN}, "a TinyAutoencoder has no likelihood"),
        ({"model": TINY}, "a TinyAutoencoder has no posterior"),
        ({"model": TinyAutoencoder(blocks=())}, "model.blocks is"),
        ({"loss": replace(LIKELIHOOD, learn_log_variance=True)}, "loss.learn_log_variance is True"),
    ],
)
def test_a_config_that_cannot_be_is_refused(image_folder, tmp_path, changes, message):
    with pytest.raises(cli.InputError, match=message):
        training.train(experiment(image_folder, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_tiny_autoencoder_is_trained_with_the_same_command(image_folder, tmp_path):
    training.train(experiment(image_folder, model=TINY, loss=AutoencoderLoss()), tmp_path / "run")
    rows = tiny.rows(tmp_path / "run")
    assert np.isfinite([float(row["loss"]) for row in rows]).all()
    assert "kl" not in rows[0]
