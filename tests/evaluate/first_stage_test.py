"""evaluate.py first-stage: what it measures, writes, says and refuses."""

import contextlib
import io
import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import evaluate as tool
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ldm_jax import checkpoint, cli, runs
from ldm_jax.data import pipeline
from ldm_jax.errors import InputError
from ldm_jax.evaluate import first_stage as evaluation
from ldm_jax.train_step.optimizer import optimizer
from ldm_jax.train_step.state import minimise, new_state
from ldm_jax.types import Perceptual
from tests.support import tiny


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_run(run: Path, experiment, params) -> Path:
    """A run of a first stage that has these params, untrained."""
    source, info = pipeline.open_source(experiment.data)
    state = new_state(
        params, optimizer(experiment.optim, 1), minimise(None, ("encoder", "decoder"))
    )
    runs.write(run, experiment, {}, info)
    with checkpoint.manager(run) as saves:
        checkpoint.save(saves, state, pipeline.batches(experiment.data, source, seed=0, keys=()))
    return run


def evaluate(run: Path, data: Path, out: Path, *words) -> tuple[dict, str]:
    """The report of a run on some data, and what is printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        tool.main(["first-stage", *map(str, (run, data, "--out", out, *words))])
    return json.loads((out / "report.json").read_text()), said.getvalue()


# What is measured


@pytest.fixture(scope="module")
def own(trained_run, image_folder, tmp_path_factory):
    """Of a first stage's own run: all images, in batches that do not divide them."""
    words = "--seed", 7, "--batch-size", 5
    run = trained_run / "first_stage"
    return evaluate(run, image_folder, tmp_path_factory.mktemp("own"), *words)


@pytest.fixture(scope="module")
def tiled(trained_run, image_folder, tmp_path_factory):
    """Of the first stage inside a diffusion model, on a side that neither factor nor tile divides.

    Where, the report, and what is printed.
    """
    out = tmp_path_factory.mktemp("tiled")
    words = "--image-size", 13, "--upscale", True, "--num", 7, "--batch-size", 4, "--seed", 3
    more = "--tile", 4, "--overlap", 2, "--compare", True
    return out, *evaluate(trained_run, image_folder, out, *words, *more)


@pytest.fixture(scope="module")
def halved(trained_run, image_folder, tmp_path_factory):
    """Of the first stage inside a diffusion model, in bfloat16."""
    words = "--compute", "bfloat16", "--compare", True
    return evaluate(trained_run, image_folder, tmp_path_factory.mktemp("halved"), *words)


def test_a_report_names_what_was_measured_and_how(tiled, trained_run, image_folder):
    _, report, _ = tiled
    said = {
        "run": str(trained_run),
        "checkpoint": 4,
        "data": str(image_folder),
        "num": 7,
        "batch_size": 4,
        "image_size": 13,
        "seed": 3,
        "tile": 4,
        "overlap": 2,
        "compute": "float32",
    }
    assert {name: report[name] for name in said} == said
    assert report["latents"]["shape"] == [7, 7, 2]
    assert report["lpips"] is report["codebook"] is None
    assert 0.0 < report["ssim"] < 1.0


def test_an_image_shows_images_reconstructions_and_differences(tiled):
    width, height = Image.open(tiled[0] / "reconstructions.png").size
    assert width > 2 * 3 * 13
    assert height > 4 * 13


def test_the_first_stage_inside_a_model_has_scaled_latents(own, halved):
    """The scale makes unit variance, which its own run knows nothing of."""
    inside, own = halved[0]["latents"], own[0]["latents"]
    assert (inside["scaled"], own["scaled"]) == (True, False)
    np.testing.assert_allclose(inside["channel_std"], 1.0, atol=0.1)
    np.testing.assert_allclose(inside["channel_mean"], 0.0, atol=0.1)
    assert abs(own["channel_std"][0] - 1.0) > 0.1


def test_a_model_without_a_checkpoint_has_its_first_stage_next_to_it(trained_run, here):
    run = here / "run"
    shutil.copytree(trained_run / "first_stage", run / "first_stage")
    assert runs.find_first_stage(run).run == run / "first_stage"
    found = runs.find_first_stage(trained_run)
    assert (found.run, found.inside, found.step) == (trained_run, True, 4)


def images_of(data) -> np.ndarray:
    source, _ = pipeline.open_source(data)
    return np.concatenate([batch["image"] for batch in pipeline.once(data, source, 16)])


def test_numbers_are_those_of_the_stage_s_own_reconstruction(own, trained_run):
    """Whatever the batches; image i has seed S + i."""
    report, said = own
    trained = runs.with_weights(runs.find_first_stage(trained_run / "first_stage"))
    stage = trained.model
    images = images_of(trained.experiment.data)
    keys = jax.vmap(jax.random.key)(7 + jnp.arange(16))
    found = jax.jit(stage.reconstruct)(trained.params, images, keys)
    z, image = np.float64(found.latents), np.clip(np.float64(found.image), -1.0, 1.0)
    errors = np.mean(np.square((images - image) / 2.0), axis=(1, 2, 3))
    kl = np.mean(found.terms["kl"]) / (4 * 4 * 2)
    tiny.assert_close(
        {"psnr": report["psnr"], "kl": report["kl"], **report["latents"]},
        {
            "psnr": np.mean(-10.0 * np.log10(errors)),
            "kl": {"nats_per_dimension": kl, "bits_per_dimension": kl / math.log(2.0)},
            "shape": [4, 4, 2],
            "scaled": False,
            "mean": z.mean(),
            "std": z.std(),
            "channel_mean": z.mean(axis=(0, 1, 2)).tolist(),
            "channel_std": z.std(axis=(0, 1, 2)).tolist(),
        },
        rtol=1e-4,
        atol=1e-5,
    )
    assert report["num"] == 16
    assert report["ssim"] is None
    assert "SSIM: none, its window needs 11 pixels" in said


def test_the_use_of_codes_is_counted(image_folder, here):
    experiment = tiny.vq_experiment(image_folder)
    experiment = replace(experiment, data=replace(experiment.data, image_size=8))
    stage = experiment.model.build()
    run = write_run(here / "run", experiment, tiny.drawn(stage.init))
    report, said = evaluate(run, image_folder, here / "out")
    codes = report["codebook"]
    assert report["kl"] is None
    assert codes["size"] == 6
    assert 1 <= codes["perplexity"] <= codes["used"] <= 6
    params = runs.with_weights(runs.find_first_stage(run)).params
    images = images_of(experiment.data)
    found = np.asarray(jax.jit(stage.reconstruct)(params, images, tiny.keys(16)).codes)
    p = np.bincount(found.ravel(), minlength=6) / found.size
    assert codes["used"] == np.sum(p > 0)
    p = p[p > 0]
    np.testing.assert_allclose(codes["perplexity"], np.exp(-np.sum(p * np.log(p))), rtol=1e-5)
    assert f"codes: {codes['used']} of 6 used" in said


# Tiles and precision, beside the whole in float32


def test_tiles_are_reported_and_compared_with_the_whole(tiled):
    _, report, said = tiled
    apart = report["compared"]
    for name in ("max", "decoder_max"):
        assert 0.0 < apart[name] <= 2.0
    for name in ("psnr", "decoder_psnr"):
        assert 10.0 < apart[name] < 80.0
    assert 0.0 < apart["latent_rms"] < 1.0
    assert "tiles: 9 of 4x4 latents (8x8 pixels) an image of 7x7, sharing 2 or more" in said
    assert "compared with the whole, as in training: PSNR" in said


def test_one_tile_is_the_whole(trained_run, image_folder, here):
    words = "--tile", 9, "--compare", True, "--num", 2, "--batch-size", 2
    report, said = evaluate(trained_run, image_folder, here, *words)
    apart = report["compared"]
    assert apart["psnr"] is None  # infinite
    assert apart["max"] == apart["decoder_max"] == apart["latent_rms"] == 0.0
    assert "tiles: none, 4x4 latents fit into one of 9x9" in said


def test_bfloat16_is_near_float32(halved):
    report, _ = halved
    assert report["compute"] == "bfloat16"
    assert 0.0 < report["compared"]["max"] < 0.2
    assert report["compared"]["psnr"] > 35.0


# LPIPS


def test_lpips_is_the_mean_of_the_distances(trained_run, image_folder, here, monkeypatch):
    """By a network that sees nothing but how far pixels are apart."""

    def distance(params, x, y):
        return params["gain"] * jnp.mean(jnp.square((x - y) / 2.0), axis=(1, 2, 3))

    asked = []
    monkeypatch.setattr(evaluation, "lpips", lambda network: Perceptual(None, distance))
    monkeypatch.setattr(
        evaluation, "load_lpips", lambda *a: asked.append(a) or {"gain": np.float32(3.0)}
    )
    words = "--lpips", "alex", "--lpips-weights", "file.pth", "--num", 1, "--batch-size", 1
    report, said = evaluate(trained_run, image_folder, here, *words)
    assert asked == [("alex", "file.pth")]
    expected = 3.0 * 10.0 ** (-report["psnr"] / 10.0)
    np.testing.assert_allclose(report["lpips"]["alex"], expected, rtol=1e-4)
    assert f"LPIPS (alex): {report['lpips']['alex']:.4f}" in said


def test_one_line_says_why_lpips_is_off(monkeypatch, capsys):
    def load(network, weights):
        raise InputError("vgg.pth cannot be fetched: save it as HERE")

    monkeypatch.setattr(evaluation, "load_lpips", load)
    assert evaluation._perceptual(evaluation.Options()) is None
    assert evaluation._perceptual(evaluation.Options(lpips="vgg")) is None
    assert capsys.readouterr().out.splitlines() == [
        "LPIPS: off; --lpips vgg turns it on",
        "LPIPS: off; vgg.pth cannot be fetched: save it as HERE",
    ]
    with pytest.raises(InputError):  # where weights are named, they must be there
        evaluation._perceptual(evaluation.Options(lpips="vgg", lpips_weights="no.pth"))


# Bad input


@pytest.fixture
def refusal(here, trained_run, image_folder, monkeypatch, capsys):
    """Calls evaluate.py with words it must refuse; the one line that it says."""

    def call(*words) -> str:
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, words)])
        before = [sorted(place.rglob("*")) for place in (here, trained_run)]
        with pytest.raises(SystemExit) as stop:
            cli.main(tool.main)
        err = capsys.readouterr().err
        assert stop.value.code == 2
        assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1
        assert [sorted(place.rglob("*")) for place in (here, trained_run)] == before
        return err

    return call


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ("--num 0", ["--num is 0", "at least 1"]),
        ("--num 17", ["--num is 17", "1 to 16"]),
        ("--num few", ["--num is 'few'", "whole number"]),
        ("--seed -1", ["--seed is -1", "expected 0 to"]),
        ("--batch-size 0", ["--batch-size is 0", "positive multiple"]),
        ("--image-size 0", ["--image-size is 0", "at least 1"]),
        ("--image-size 9", ["8x8 pixels, smaller than image_size 9", "--image-size to 8", "--up"]),
        ("--tile 1", ["--tile is 1", "at least 2"]),
        ("--tile 4 --overlap 4", ["--overlap is 4", "0 to 3"]),
        ("--tile 4 --overlap -1", ["--overlap is -1", "0 to 3"]),
        ("--overlap 1", ["--overlap is 1", "--tile"]),
        ("--compute float16", ["--compute", "'float16'", "'bfloat16'"]),
        ("--lpips vgg19", ["--lpips", "'vgg19'", "'vgg'"]),
        ("--lpips vgg --lpips-weights no.pth", ["no.pth"]),
        ("--tiel 4", ["--tiel is not a setting", "'--tile'"]),
        ("surplus", ["'surplus'", "one word too many"]),
        ("--out metadata/x", ["--out 'metadata/x'", "is a file"]),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(
    refusal, trained_run, image_folder, here, words, fragments
):
    (here / "metadata").write_text("")
    message = refusal("first-stage", trained_run, image_folder, *words.split())
    for fragment in fragments:
        assert fragment in message


def test_what_is_no_run_or_no_data_is_refused(refusal, trained_run, image_folder, here):
    for words, fragments in (
        (["first-stage"], ["first-stage RUN DATA"]),
        (["first-stage", trained_run], ["first-stage RUN DATA"]),
        (["first-stage", trained_run, "--num", 3], ["first-stage RUN DATA"]),
        (["first-stages", trained_run, image_folder], ["'first-stages' is no evaluation"]),
        ([], ["no evaluation", "captions,bound,bits,first-stage"]),
        (["first-stage", "nowhere", image_folder], ["run 'nowhere' does not exist"]),
        (["first-stage", image_folder, image_folder], ["is not a run", "no config.py"]),
        (
            ["first-stage", trained_run, "nowhere"],
            ["DATA nowhere does not exist", "expected a folder"],
        ),
        (["first-stage", trained_run, here], ["has no images", "point DATA at"]),
        (["first-stage", trained_run, "tfds:no"], ["tfds:no is not a data set"]),
    ):
        message = refusal(*words)
        for fragment in fragments:
            assert fragment in message
    shutil.copy(trained_run / "first_stage" / "config.py", here)
    assert "has no checkpoint" in refusal("first-stage", here, image_folder)


def test_a_run_without_a_size_of_its_own_needs_one(refusal, trained_run, image_folder, here):
    """Such as one that came from elsewhere."""
    trained = runs.find_first_stage(trained_run / "first_stage")
    data = replace(trained.experiment.data, path=None, image_size=None)
    runs.write_imported(
        here / "run", replace(trained.experiment, data=data), tiny.drawn(trained.model.init)
    )
    message = refusal("first-stage", here / "run", image_folder)
    assert "image_size is not set: give --image-size in pixels" in message


def test_images_that_cannot_be_read_are_refused(refusal, trained_run, here):
    (here / "images").mkdir()
    for name in ("a", "b"):
        (here / "images" / f"{name}.png").write_bytes(b"no image")
    message = refusal("first-stage", trained_run, here / "images", "--max-bad-images", 1)
    assert "2 images cannot be read (max_bad_images is 1)" in message
    assert "raise --max-bad-images" in message


def test_a_stage_of_one_precision_has_no_other(image_folder, trained_run):
    class Plain:  # a config without `compute`
        pass

    trained = runs.find_first_stage(trained_run)
    trained = trained._replace(experiment=replace(trained.experiment, model=Plain()))
    with pytest.raises(InputError, match="Plain has no other precision"):
        evaluation._variant(trained, evaluation.Options(compute="bfloat16"))


def test_numbers_that_are_not_finite_stop_it(trained_run, image_folder, here):
    trained = runs.find_first_stage(trained_run)
    params = jax.tree.map(lambda x: x * jnp.nan, tiny.drawn(trained.model.init))
    run = write_run(here / "run", trained.experiment, params)
    with pytest.raises(FloatingPointError, match="not numbers"):
        evaluate(run, image_folder, here / "out")
    assert not (here / "out").exists()


@pytest.mark.parametrize("words", [["--help"], ["first-stage", "--help"], ["captions", "-h"]])
def test_help_is_no_error(words, capsys):
    try:
        tool.main(words)
    except SystemExit as stop:
        assert not stop.code
    said = capsys.readouterr().out
    assert "first-stage RUN DATA" in said
    if words[0] == "first-stage":
        for name in ("--num", "--tile", "--lpips", "--image-size", "--split", "--seed", "--out"):
            assert name in said
