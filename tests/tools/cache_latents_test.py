"""Cached latents train as images do."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax import runs, training
from ldm_jax.autoencoders.latents import remembered
from ldm_jax.config import Data, Inpainting, Text, UNet
from ldm_jax.data import latents, pipeline
from ldm_jax.errors import InputError
from ldm_jax.tools import cache_latents
from tests.support import tiny


def cache(run, data, out, *words):
    cache_latents.cache_latents(run, str(data), out, words, "")


@pytest.fixture(scope="module")
def cached(trained_run, image_folder, tmp_path_factory):
    """The latents of the images of `image_folder`, by the first stage of `trained_run`."""
    out = tmp_path_factory.mktemp("cached") / "latents"
    cache(trained_run / "first_stage", image_folder, out, "--shards", "3", "--batch-size", "5")
    return out


@pytest.fixture(scope="module")
def stage(trained_run):
    """The first stage that encoded them, and its weights."""
    found = runs.with_weights(runs.find_first_stage(trained_run / "first_stage"))
    return found.model, found.params


def stream(path, flip, size=tiny.SIZE):
    data = Data(path=str(path), image_size=size, batch_size=8, flip=flip)
    source, info = pipeline.open_source(data)
    return info, pipeline.batches(data, source, seed=3, keys=("label",))


@pytest.mark.parametrize("flip", [False, True])
def test_a_batch_is_the_posterior_of_the_batch_of_images(cached, image_folder, stage, flip):
    """The same examples in the same order, mirrored where the images were."""
    model, params = stage
    info, of_latents = stream(cached, flip)
    same, of_images = stream(image_folder, flip)
    assert info[:4] == same[:4]
    for _ in range(4):
        found, images = next(of_latents), next(of_images)
        q = model.posterior(params, images["image"])
        expected = np.concatenate([q.mean, q.log_variance], axis=-1)
        np.testing.assert_allclose(found["image"], expected, atol=2e-5)
        np.testing.assert_array_equal(found["label"], images["label"])


def test_drawn_and_scaled_they_are_what_the_first_stage_encodes(cached, image_folder, stage):
    model, params = stage
    params = {**params, "shift": jnp.array([0.3, -0.2]), "scale": jnp.array([2.0, 0.5])}
    batches = [next(stream(path, True)[1]) for path in (cached, image_folder)]
    again = remembered(model, drawn=True)
    found = again.encode(params, batches[0]["image"], tiny.keys(8))
    expected = model.encode(params, batches[1]["image"], tiny.keys(8))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    other = again.encode(params, batches[0]["image"], tiny.keys(8, seed=1))
    assert np.abs(other - found).max() > 1e-3  # drawn again


@pytest.fixture(scope="module")
def both(cached, image_folder, trained_run, tmp_path_factory):
    """One diffusion model trained on images, and one on their latents."""
    root = tmp_path_factory.mktemp("both")
    experiment = tiny.experiment(image_folder)
    given = replace(experiment.first_stage, run=str(trained_run / "first_stage"))
    experiment = replace(experiment, first_stage=given, data=replace(experiment.data, flip=True))
    training.train(experiment, root / "images")
    data = replace(experiment.data, path=str(cached))
    training.train(replace(experiment, data=data), root / "latents")
    return root / "images", root / "latents"


def test_training_on_latents_is_training_on_images(both):
    images, others = (tiny.saved(run, 4) for run in both)
    tiny.assert_close(others["params"], images["params"], atol=2e-3)
    losses = [[float(row["loss"]) for row in tiny.rows(run)] for run in both]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


def test_the_run_of_latents_samples_as_any(both):
    loaded = runs.load(both[1])
    assert loaded.params["first_stage"].keys() == runs.load(both[0]).params["first_stage"].keys()
    assert isinstance(loaded.experiment.conditions[0], Text)


def test_a_shard_that_is_there_is_left_and_one_that_is_not_is_written(
    cached, trained_run, image_folder, tmp_path, capsys
):
    words = "--shards", "3", "--batch-size", "5"
    out = tmp_path / "out"
    for host in ("0", "1"):
        cache(
            trained_run / "first_stage", image_folder, out, *words, "--host", host, "--hosts", "2"
        )
        files = sorted(file.name for file in out.glob("*.array_record"))
        assert len(files) == 2 + int(host)
        if host == "0":
            with pytest.raises(InputError, match=r"lacks 1 of its 3 shards, .*00001-of-00003"):
                latents.Source(str(out))
    records = [latents.Source(str(place)) for place in (cached, out)]
    for i in range(16):
        ours, theirs = records[1][i], records[0][i]
        np.testing.assert_array_equal(ours.pop("moments"), theirs.pop("moments"))
        assert ours == theirs
    (out / files[1]).unlink()
    times = {file: file.stat().st_mtime_ns for file in out.glob("*.array_record")}
    cache(trained_run / "first_stage", image_folder, out, *words)
    assert "2 of 3 shards are there already" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in times} == times
    assert len(latents.Source(str(out))) == 16


def test_a_record_holds_what_was_packed():
    described = latents.Described(
        "x", "d", 8, (2, 3, 4), True, False, "float16", 1, (), False, True
    )
    moments = np.arange(48, dtype=np.float16).reshape(2, 1, 2, 3, 4)
    header = {"name": "a", "text": ["grün", "b"]}
    found, said = latents.unpack(latents.pack(moments, header), described)
    np.testing.assert_array_equal(found, moments)
    assert said == header


def test_latents_without_a_variance_are_their_mean(tmp_path, image_folder):
    experiment = tiny.vq_experiment(image_folder)
    params = tiny.drawn(experiment.model.build().init)
    unscaled = {"shift": np.zeros(2, np.float32), "scale": np.ones(2, np.float32)}
    runs.write_imported(tmp_path / "vq", experiment, params | unscaled)
    cache(tmp_path / "vq", image_folder, tmp_path / "out", "--upscale", "True", "--flips", "False")
    source = latents.Source(str(tmp_path / "out"))
    assert not source.described.drawn
    assert source[0]["moments"].shape == (1, 1, 8, 8, 2)
    found = runs.with_weights(runs.find_first_stage(tmp_path / "vq"))
    again = remembered(found.model, drawn=False)
    z = again.encode(found.params, jnp.asarray(source[0]["moments"][0]), tiny.keys(1))
    np.testing.assert_array_equal(z, source[0]["moments"][0])


def refused(message, experiment, run):
    with pytest.raises(InputError, match=message):
        training.train(experiment, run)
    assert not run.exists()


def test_latents_that_do_not_suit_are_refused(cached, image_folder, trained_run, tmp_path):
    experiment = tiny.experiment(cached)
    run = tmp_path / "run"
    refused("holds latents: expected --first-stage.run", experiment, run)
    refused(
        "holds latents: expected the images",
        replace(experiment.first_stage, data=experiment.data),
        run,
    )
    stage = replace(experiment.first_stage, run=str(trained_run / "first_stage"))
    given = replace(experiment, first_stage=stage)
    refused(
        "data.image_size is 16: expected 8",
        replace(given, data=replace(given.data, image_size=16)),
        run,
    )
    refused("data.crop is random", replace(given, data=replace(given.data, crop="random")), run)
    inpainting = replace(given, conditions=(Inpainting(),), model=replace(given.model))
    assert isinstance(inpainting.model, UNet)
    refused("holds latents: expected images for a condition of Inpainting", inpainting, run)


def test_latents_of_another_first_stage_are_refused(cached, stage):
    model, params = stage
    assert cache_latents.digest(params, model) == latents.describe(cached).first_stage
    scaled = {**params, "scale": 2.0 * params["scale"]}
    assert cache_latents.digest(scaled, model) == cache_latents.digest(params, model)
    other = jax.tree.map(lambda x: x + 1e-6, params)
    assert cache_latents.digest(other, model) != cache_latents.digest(params, model)


def test_a_folder_of_other_latents_is_refused(cached, trained_run, image_folder, tmp_path):
    run = trained_run / "first_stage"
    with pytest.raises(InputError, match="latents whose flips is True: expected False"):
        cache(run, image_folder, cached, "--shards", "3", "--flips", "False")
    with pytest.raises(InputError, match="--image-size is 7: expected a multiple of 2"):
        cache(run, image_folder, tmp_path / "out", "--image-size", "7")
    with pytest.raises(InputError, match=r"DATA .* holds latents"):
        cache(run, cached, tmp_path / "out")
    assert not (tmp_path / "out").exists()
