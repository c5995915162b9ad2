"""A run that died and was started again is the run that did not; all through `training.train`."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

from ldm_jax import runs, training
from ldm_jax.autoencoders.latents import unit
from ldm_jax.training.log import Log
from tests.support import tiny


def train_until(step, experiment, run):
    """Trains, and dies after the row of `step` is written."""
    scalars = Log.scalars

    def write_then_die(self, n, values):
        scalars(self, n, values)
        if n == step:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Log, "scalars", write_then_die)
        training.train(experiment, run)


@pytest.fixture(scope="module")
def resumed(image_folder, trained_run, tmp_path_factory):
    """The diffusion model of `trained_run` that died in its third step, and was started again."""
    run = tmp_path_factory.mktemp("resumed") / "diffusion"
    experiment = tiny.experiment(image_folder)
    given = replace(experiment.first_stage, run=str(trained_run / "first_stage"))
    experiment = replace(experiment, first_stage=given)
    train_until(3, experiment, run)
    training.train(experiment, run)
    return run


def test_a_resumed_run_is_the_same_bit_for_bit(resumed, trained_run):
    """Weights, average, optimizer and place in the data, and one row a step."""
    for step in (2, 4):
        tiny.assert_same(tiny.saved(resumed, step), tiny.saved(trained_run, step))
    assert tiny.rows(resumed) == tiny.rows(trained_run)


@pytest.mark.parametrize("stage", ["first_stage", "."])
def test_each_step_has_one_row_and_the_last_an_image(stage, trained_run):
    assert [row["step"] for row in tiny.rows(trained_run / stage)] == list("1234")
    with Image.open(trained_run / stage / "samples" / "00000004.png") as image:
        assert min(image.size) > tiny.SIZE


def test_the_scale_is_measured_once_before_the_second_stage(trained_run, resumed):
    def latents(params):
        return {name: np.asarray(params[name]) for name in ("shift", "scale")}

    def same(a, b):
        jax.tree.map(np.testing.assert_array_equal, a, b)

    loaded = runs.load(trained_run)
    measured = latents(loaded.params["first_stage"])
    assert np.all(measured["shift"] != 0.0)
    assert np.unique(measured["scale"]).size == measured["scale"].size
    for run, step in [(trained_run, 2), (trained_run, 4), (resumed, 2), (resumed, 4)]:
        same(latents(tiny.saved(run, step)["params"]["first_stage"]), measured)
    before = latents(tiny.saved(trained_run / "first_stage", 4)["params"])
    same(before, unit(loaded.model.first_stage.channels))


def test_the_diffusion_model_stands_on_the_averaged_first_stage_and_leaves_it(trained_run):
    first = tiny.saved(trained_run / "first_stage", 4)
    averaged = {**first["params"], **first["ema"]}
    for step in (2, 4):
        found = tiny.saved(trained_run, step)["params"]["first_stage"]
        for part in ("encoder", "decoder"):
            tiny.assert_same(found[part], averaged[part])


def test_a_loaded_run_has_the_averaged_weights(trained_run):
    loaded, state = runs.load(trained_run), tiny.saved(trained_run, 4)
    assert loaded.step == 4
    tiny.assert_same(loaded.params, {**state["params"], **state["ema"]})
