"""What is measured while a model trains."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax import checkpoint, runs, sampling, training
from ldm_jax.autoencoders.latents import scaled
from ldm_jax.config import Evaluation, FirstStageEvaluation
from ldm_jax.data import pipeline
from ldm_jax.errors import InputError
from ldm_jax.evaluate import features as extracting
from ldm_jax.evaluate.sets import open_set
from ldm_jax.extractors.names import extractor
from ldm_jax.metrics.frechet import frechet_distance
from ldm_jax.metrics.reconstruction import psnr
from ldm_jax.metrics.statistics import moments
from ldm_jax.training import first_stage, shown
from ldm_jax.training.log import Log
from ldm_jax.types import TrainState
from ldm_jax.weights.names.extractors import load_extractor
from tests.support import linear_extractor, tiny

NUM = 6


def features(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255.0 @ np.float64(linear_extractor.PARAMS)


@pytest.fixture(scope="module", autouse=True)
def linear():
    """An extractor that takes no time."""
    with pytest.MonkeyPatch.context() as patch:
        for name, stand_in in linear_extractor.STAND_INS.items():
            patch.setattr(extracting, name, stand_in)
        yield


@pytest.fixture(scope="module")
def experiment(image_folder, tmp_path_factory):
    """Four steps on the latents of a first stage that is there."""
    base = tiny.experiment(image_folder, conditions=())
    stage = training.inherit(base.first_stage, base.data)
    there = tmp_path_factory.mktemp("in_training") / "first_stage"
    runs.write_imported(there, stage, tiny.drawn(stage.model.build().init))
    return replace(
        base,
        first_stage=replace(base.first_stage, run=str(there)),
        sampling=replace(base.sampling, guidance=1.0),
        train=replace(base.train, save_every=1, keep=1, best="fid"),
        evaluation=Evaluation(every=2, num=NUM, batch_size=4),
    )


@pytest.fixture(scope="module")
def whole(experiment, tmp_path_factory):
    """A run without a pause, and how often its sampler was compiled."""
    made = []
    with pytest.MonkeyPatch.context() as patch:
        make = shown.make_generate
        patch.setattr(shown, "make_generate", lambda *a: made.append(make(*a)) or made[-1])
        run = tmp_path_factory.mktemp("in_training") / "whole"
        training.train(experiment, run)
    return run, [generate._cache_size() for generate in made]


def test_it_is_the_distance_of_what_the_run_draws_to_its_training_data(whole):
    run, _ = whole
    rows = {int(row["step"]): row["fid"] for row in tiny.rows(run)}
    assert [step for step, value in rows.items() if value] == [2, 4]
    trained = runs.load(runs.chosen(run, "4"))
    drawn = sampling.draw(trained, sampling.resolve(trained, num=NUM, batch_size=4)).images
    reference = open_set(f"data:{run}")
    real = np.concatenate(list(reference.batches(reference.count, 8)))
    expected = frechet_distance(moments(features(drawn)), moments(features(real)))
    assert float(rows[4]) == pytest.approx(expected, rel=1e-4)


def test_the_sampler_is_compiled_once(whole):
    assert whole[1] == [1]


def test_the_best_checkpoint_by_it_is_kept_and_read(whole):
    run, _ = whole
    values = {int(row["step"]): float(row["fid"]) for row in tiny.rows(run) if row["fid"]}
    best = min(values, key=values.get)
    assert runs.load(runs.chosen(run, "best")).step == best
    assert checkpoint.steps(run) == sorted({best, 4}, reverse=True)


def test_training_neither_notices_it_nor_repeats_it_when_it_goes_on(
    whole, experiment, tmp_path, monkeypatch, capsys
):
    """A run that ends after the third step, and goes on, ends with the same."""
    run, scalars = tmp_path / "again", Log.scalars

    def end(self, step, values):
        if step == 3:
            raise KeyboardInterrupt
        scalars(self, step, values)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Log, "scalars", end)
        training.train(experiment, run)
    assert "16 images of the training data" in capsys.readouterr().out
    training.train(experiment, run)
    assert "looked at" not in capsys.readouterr().out
    tiny.assert_same(tiny.saved(run, 4), tiny.saved(whole[0], 4))
    assert tiny.rows(run) == tiny.rows(whole[0])


def test_over_devices_by_pmap_it_is_the_same(whole, experiment, tmp_path):
    train = replace(experiment.train, devices="pmap", steps=2)
    training.train(replace(experiment, train=train), tmp_path / "pmap")
    found, expected = (float(tiny.rows(run)[1]["fid"]) for run in (tmp_path / "pmap", whole[0]))
    assert found == pytest.approx(expected, rel=1e-3)


def test_conditions_are_those_of_training_data(image_folder):
    data = tiny.experiment(image_folder).data
    source, _ = pipeline.open_source(data)
    batches = pipeline.batches(data, source, seed=1, keys=("label",))
    found = shown._conditions([next(batches)], batches, ("label",), 21)
    assert found["label"].shape == (21,)
    assert set(found["label"]) == set(range(len(tiny.COLORS)))
    assert shown._conditions([], batches, (), 21) == {}


# What is refused


def refused(experiment, run: Path) -> str:
    with pytest.raises(InputError) as error:
        training.train(experiment, run)
    assert "\n" not in str(error.value) and not run.exists()
    return str(error.value)


def test_a_metric_that_is_not_written(experiment, tmp_path):
    def by(metric, **changes):
        train = replace(experiment.train, best=metric)
        return refused(replace(experiment, train=train, **changes), tmp_path / "run")

    assert "train.best is psnr: expected one of" in (message := by("psnr"))
    assert "loss" in message and "fid" in message
    assert "train.best is fid: expected one of" in by("fid", evaluation=Evaluation())


def test_weights_that_are_not_there(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(extracting, "extractor", extractor)
    monkeypatch.setattr(extracting, "load_extractor", load_extractor)
    asked = Evaluation(every=2, extractor="dinov2")
    message = refused(replace(experiment, evaluation=asked), tmp_path / "run")
    assert "DINOv2 ViT-L/14 has no weights here" in message


def test_numbers_that_cannot_be(experiment, tmp_path):
    few = replace(experiment, evaluation=Evaluation(every=2, num=1))
    assert "evaluation.num is 1: expected at least 2" in refused(few, tmp_path / "run")


# First stages


def test_a_first_stage_is_measured_on_what_comes_back(image_folder):
    base = tiny.experiment(image_folder)
    stage = replace(
        training.inherit(base.first_stage, base.data),
        evaluation=FirstStageEvaluation(every=1, num=6, batch_size=4),
    )
    model = stage.model.build()
    params = tiny.drawn(model.init)
    source, _ = pipeline.open_source(stage.data)
    images = next(pipeline.once(stage.data, source, 6))["image"]
    mean = scaled(params, model.posterior(params, images).mean)
    expected = np.mean(psnr(images, model.decode(params, mean)))
    measurement = first_stage._measurement(stage, model, "")
    assert measurement.names == ("eval_psnr",)  # SSIM needs 11 pixels a side
    shifted = jax.tree.map(lambda x: x + 1.0, params)  # the averages are measured
    found = measurement.of(TrainState(jnp.zeros(()), shifted, params, ()))
    assert found == {"eval_psnr": pytest.approx(float(expected), abs=1e-3)}


def test_the_best_first_stage_by_what_is_not_measured(image_folder, tmp_path):
    base = tiny.experiment(image_folder)
    stage = training.inherit(base.first_stage, base.data)
    stage = replace(
        stage,
        train=replace(stage.train, best="eval_ssim"),
        evaluation=FirstStageEvaluation(every=1, batch_size=4),
    )
    message = refused(stage, tmp_path / "run")
    assert "train.best is eval_ssim: expected one of" in message and "eval_psnr" in message
