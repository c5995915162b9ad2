"""DALL-E 2: its prior and its decoder are trained as any model, on CLIP's weights in a file, and
draw in a row."""

import re
from dataclasses import replace

import numpy as np
import pytest

import sample
from ldm_jax import runs, training
from ldm_jax.autoencoders.image_embedding import prepared
from ldm_jax.config import Cascade, Stage
from ldm_jax.errors import InputError
from ldm_jax.sampling.cascade import check_fits, draw, most_similar, parts_of, several
from ldm_jax.sampling.embeddings import between, changed
from tests.support import dalle2, tiny

SEEDS = np.arange(3, dtype=np.uint32)


@pytest.fixture(scope="module", name="clip")
def _clip(tmp_path_factory):
    return dalle2.write_clip(tmp_path_factory.mktemp("clip") / "clip")


@pytest.fixture(scope="module", name="prior")
def _prior(image_folder, clip, own_copy):
    return own_copy("prior", lambda run: training.train(dalle2.prior(image_folder, clip), run))


@pytest.fixture(scope="module", name="decoder")
def _decoder(image_folder, clip, own_copy):
    return own_copy("decoder", lambda run: training.train(dalle2.decoder(image_folder, clip), run))


@pytest.fixture(scope="module", name="parts")
def _parts(prior, decoder):
    return parts_of(Cascade((Stage(str(prior), "image_embedding"), Stage(str(decoder)))))


def test_a_prior_learns_embeddings_of_unit_variance(prior):
    assert all(np.isfinite(float(row["loss"])) for row in tiny.rows(prior))
    trained = runs.load(prior)
    stage, params = trained.model.first_stage, trained.params["first_stage"]
    images = np.random.default_rng(0).uniform(-1, 1, (8, 8, 8, 3)).astype(np.float32)
    z = stage.encode(params, images, tiny.keys(8))
    assert z.shape == (8, 1, 1, dalle2.DIM)
    network = trained.experiment.first_stage.model.network
    expected = network.apply({"params": params["encoder"]}, prepared(images, 8))
    np.testing.assert_allclose(stage.decode(params, z)[:, 0, 0], expected, atol=1e-5)
    assert np.any(params["shift"] != 0)  # measured, a channel each
    with pytest.raises(InputError, match="is a prior, which draws embeddings: expected a cascade"):
        sample.main([str(prior)])


def test_a_decoder_keeps_both_encoders_of_clip_as_they_are(decoder, prior):
    assert all(np.isfinite(float(row["loss"])) for row in tiny.rows(decoder))
    params, other = runs.load(decoder).params, runs.load(prior).params
    tiny.assert_same(params["conditioner"]["beside"]["tower"], other["first_stage"]["encoder"])
    text = {name: x for name, x in params["conditioner"].items() if name != "beside"}
    tiny.assert_same(text, other["conditioner"])
    assert set(tiny.saved(decoder, 2)["params"]["denoiser"]["project"]) >= {"null", "extra"}


def test_a_prior_feeds_a_decoder(parts):
    prompts = ("a red block at the top", "a blue block at the top")
    embeddings, images = draw(parts, SEEDS, prompts)
    assert (embeddings.shape, images.shape) == ((3, dalle2.DIM), (3, 8, 8, 3))
    given = {"image_embedding": embeddings[[1, 0, 2]]}
    (moved,) = draw(parts[1:], SEEDS, prompts, given)
    np.testing.assert_allclose(moved[2], images[2], atol=1e-5)
    assert np.abs(moved[:2] - images[:2]).max() > 1e-3


def test_of_several_draws_the_one_most_like_its_caption_is_kept(parts):
    drawn = np.array([[[1, 0], [5, 5]], [[9, 9], [0, 2]]], np.float32)
    captions = np.array([[2, 0], [1, 0]], np.float32)
    np.testing.assert_array_equal(most_similar(drawn, captions), [[1, 0], [5, 5]])
    first, _ = draw(parts, SEEDS)
    both = [first, draw([parts[0]._replace(feeds=None)], several(SEEDS, 1))[0]]
    best, _ = draw([parts[0]._replace(draws=2), parts[1]], SEEDS)
    chosen = [[np.abs(best[i] - one[i]).max() < 1e-4 for one in both] for i in range(3)]
    assert np.all(np.sum(chosen, axis=1) == 1)


def test_stages_of_other_embeddings_or_in_another_order_are_refused(parts, prior, decoder):
    embeds, images = parts
    with pytest.raises(InputError, match="the last, draws embeddings: expected a decoder after"):
        parts_of(Cascade((Stage(str(prior)),)))
    with pytest.raises(
        InputError, match=r"feeds 'image_embedding' to .* entries that it reads, tok"
    ):
        parts_of(Cascade((Stage(str(decoder), "image_embedding"), Stage(str(prior)))))
    with pytest.raises(
        InputError, match=r"draws images \(8, 8, 3\), and .*image_embedding \(16,\)"
    ):
        check_fits([images._replace(feeds="image_embedding"), images])
    with pytest.raises(InputError, match="has draws 2: expected 1, since it draws images"):
        check_fits([embeds, images._replace(draws=2)])
    stage = embeds.model.first_stage._replace(channels=24)
    wide = embeds._replace(model=embeds.model._replace(first_stage=stage))
    with pytest.raises(
        InputError, match=r"draws embeddings \(24,\), and .*image_embedding \(16,\)"
    ):
        check_fits([wide, images])


def test_training_without_weights_of_a_clip_is_refused(image_folder, clip, tmp_path):
    given = dalle2.prior(image_folder, clip)
    without = replace(given.first_stage, model=replace(given.first_stage.model, file=None))
    with pytest.raises(InputError, match=r"model\.file is None: expected CLIP's weights"):
        training.train(replace(given, first_stage=without), tmp_path / "run")
    words = f"{clip}/tokenizer.json"
    captions = replace(given.conditions[0], file=None, tokenizer=words)
    with pytest.raises(InputError, match="file of CLIPCaption is None: expected CLIP's weights"):
        training.train(replace(given, conditions=(captions,)), tmp_path / "run")
    given = dalle2.decoder(image_folder, clip)
    image = replace(given.conditions[1], file=None)
    with pytest.raises(InputError, match="file of EmbeddedImage is None: expected CLIP's weights"):
        training.train(replace(given, conditions=(given.conditions[0], image)), tmp_path / "run")
    wide = replace(given, model=replace(given.model, vector_dim=64))
    with pytest.raises(InputError, match="vector_dim is 64: expected 32, for the vectors"):
        training.train(wide, tmp_path / "run")


def test_between_two_embeddings_lie_those_on_the_sphere():
    ends = np.array([[3, 0, 0], [0, 4, 0]], np.float32)
    found = between(ends, np.array([0, 0.5, 1], np.float32))
    np.testing.assert_allclose(found[[0, 2]], ends, atol=1e-6)
    np.testing.assert_allclose(found[1], [3 / 2**0.5, 4 / 2**0.5, 0], atol=1e-5)
    diff = changed(ends[:1], np.array([[1, 0, 0], [0, 0, 5]], np.float32))
    np.testing.assert_allclose(diff, 3 * np.array([[-1, 0, 1]]) / 2**0.5, atol=1e-6)
    with pytest.raises(InputError, match="--from-prompt and --prompt are the same"):
        changed(ends[:1], np.ones((2, 3), np.float32))


@pytest.fixture(scope="module", name="cascade")
def _cascade(prior, decoder, tmp_path_factory):
    """The file of a cascade."""
    path = tmp_path_factory.mktemp("cascade") / "small.py"
    stages = f'Stage({str(prior)!r}, "image_embedding"), Stage({str(decoder)!r})'
    path.write_text(f"from ldm_jax.config import *\n\nconfig = Cascade(({stages}))\n")
    return str(path)


def images_of(out):
    with np.load(out / "samples.npz") as file:
        return file["arr_0"]


def test_an_image_is_varied_and_drawn_again_from_the_noise_behind_it(
    cascade, image_folder, tmp_path
):
    one = str(sorted(image_folder.glob("*.png"))[0])
    sample.main([cascade, "--image", one, "--num", "3", "--out", str(tmp_path / "a")])
    varied = images_of(tmp_path / "a")
    assert varied.shape == (3, 8, 8, 3)
    assert np.any(varied[0] != varied[1])
    words = ["--invert", "--num", "2", "--stages.1.guidance", "1", "--out", str(tmp_path / "b")]
    sample.main([cascade, "--image", one, *words])
    again = images_of(tmp_path / "b")
    np.testing.assert_array_equal(again[0], again[1])  # of the image's noise, whatever the seed


def test_images_captions_and_their_difference_are_ends_of_interpolations(
    cascade, image_folder, tmp_path
):
    a, b = map(str, sorted(image_folder.glob("*.png"))[:2])
    out = str(tmp_path / "a")
    sample.main([cascade, "--image", a, b, "--interpolate", "3", "--seed", "4", "--out", out])
    frames = images_of(tmp_path / "a")
    out = str(tmp_path / "b")
    sample.main([cascade, "--image", b, "--num", "1", "--seed", "4", "--out", out])
    assert len(frames) == 3
    assert np.abs(frames[2].astype(int) - images_of(tmp_path / "b")[0]).max() <= 1
    prompts = ["--prompt", "a red block at the top", "a blue block at the top"]
    words = [cascade, *prompts, "--interpolate", "3", "--out", str(tmp_path / "c")]
    sample.main(words)
    assert len(images_of(tmp_path / "c")) == 3
    words = ["--from-prompt", "a red block at the top", "--interpolate", "3", "--seed", "4"]
    words += ["--prompt", "a blue block at the top", "--out", str(tmp_path / "d")]
    sample.main([cascade, "--image", b, *words])
    assert np.abs(images_of(tmp_path / "d")[0].astype(int) - frames[2]).max() <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--image", "a", "b"], "--image names 2: expected one to vary, or two with --interpolate"),
        (["--image", "a", "--interpolate", "3"], "--interpolate is 3: expected two of --image"),
        (["--from-prompt", "a"], "--from-prompt is given: expected --interpolate N, one --image"),
        (["--invert"], "--invert is given: expected --image, and --stages.1.sampler ddim"),
        (
            ["--prompt", "a", "b", "--interpolate", "3", "--num", "2"],
            "--num is 2 and --interpolate",
        ),
        (["--image", "/no.png"], "--image '/no.png' does not exist"),
    ],
)
def test_options_of_embeddings_that_do_not_go_together_are_refused(
    cascade, words, message, tmp_path
):
    with pytest.raises(InputError, match=re.escape(message)):
        sample.main([cascade, *words, "--out", str(tmp_path / "out")])
