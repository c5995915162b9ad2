"""Starting from the weights of another run: what matches is taken, what does not is named."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from ldm_jax import runs, training
from ldm_jax.config import Adversary, Label
from ldm_jax.errors import InputError
from ldm_jax.runs import init_from
from tests.support import tiny, traced_once


@pytest.fixture(scope="module")
def experiment(image_folder):
    """One step, at a learning rate that changes nothing to speak of."""
    tiny_one = tiny.experiment(image_folder)
    return replace(
        tiny_one,
        train=replace(tiny_one.train, steps=1),
        optim=replace(tiny_one.optim, lr=1e-12),
    )


@pytest.fixture(scope="module")
def started(experiment, trained_run, tmp_path_factory):
    """A run that started from `trained_run`, and made one step."""
    run = tmp_path_factory.mktemp("started") / "run"
    training.train(experiment, run, init_from=trained_run)
    return run


def test_a_run_starts_from_the_averages_with_first_stage_scale_and_words(started, trained_run):
    given, found = runs.load(trained_run).params, tiny.saved(started, 1)["params"]
    tiny.assert_close(found["denoiser"], given["denoiser"], atol=1e-6)
    tiny.assert_close(found["conditioner"], given["conditioner"], atol=1e-6)
    tiny.assert_same(found["first_stage"], given["first_stage"])
    words = [(run / "tokenizer.json").read_text() for run in (started, trained_run)]
    assert words[0] == words[1]
    assert not (started / "first_stage").exists()


def test_another_run_to_start_from_is_refused_once_it_has_begun(
    started, experiment, trained_run, tmp_path
):
    training.train(experiment, started, init_from=trained_run)  # the same goes on
    other = trained_run / "checkpoints" / "2"
    with pytest.raises(InputError, match=r"--init-from is '.*/checkpoints/2', and run .* started"):
        training.train(experiment, started, init_from=other)
    with pytest.raises(InputError, match="has started from no other run: expected the same or"):
        training.train(runs.load_config(trained_run), trained_run, init_from=started)


def test_its_config_alone_goes_on_with_it(started, trained_run):
    config = runs.load_config(started)
    assert config.first_stage.run == str(trained_run)
    training.train(replace(config, train=replace(config.train, steps=2)), started)
    found = tiny.saved(started, 2)["params"]["first_stage"]
    tiny.assert_same(found, tiny.saved(started, 1)["params"]["first_stage"])


def test_the_optimizer_begins_again(started):
    assert int(tiny.saved(started, 1)["optimizer"]["step"]) == 1


def test_the_first_stage_of_a_diffusion_model_serves_another(experiment, trained_run):
    found = runs.load_first_stage_config(trained_run)
    assert found.run == str(trained_run)
    assert found.model == experiment.first_stage.model


def shapes(experiment):
    model = tiny.model(experiment)[0]
    return traced_once.shapes(model.init, jax.random.key(0))


def test_every_array_of_another_shape_stops_by_name(experiment, trained_run):
    wider = replace(experiment, model=replace(experiment.model, channels=16))
    start = init_from.start_from(trained_run, wider, partial=False)
    with pytest.raises(InputError, match=r"denoiser/\S+ is \(\d.*\) there and \(\d.*\) here"):
        init_from.match(start, shapes(wider))


def test_arrays_that_only_one_side_has_stop_by_name(experiment, trained_run):
    more = replace(experiment, model=replace(experiment.model, num_res_blocks=2))
    start = init_from.start_from(trained_run, more, partial=False)
    with pytest.raises(InputError, match=r"denoiser/\S+ is missing there, .*--init-partial"):
        init_from.match(start, shapes(more))
    fewer = {"denoiser": {"conv_in": shapes(experiment)["denoiser"]["conv_in"]}}
    with pytest.raises(InputError, match=r"denoiser/\S+ is unexpected, .*and \d+ more"):
        init_from.match(start, fewer)


def test_what_matches_is_taken_where_only_part_is_asked_for(experiment, trained_run, capsys):
    _, params, _ = tiny.model(
        replace(experiment, model=replace(experiment.model, num_res_blocks=2))
    )
    params = {name: params[name] for name in ("denoiser", "conditioner")}
    start = init_from.start_from(trained_run, experiment, partial=True)
    found = init_from.match(start, params)
    filled = tiny.arrays(init_from.fill(start, params))
    given, own = tiny.arrays(runs.load(trained_run).params), tiny.arrays(params)
    named = {"['" + name.replace("/", "']['") + "']" for name in found.matched}
    assert named and found.missing
    for name in own:
        np.testing.assert_array_equal(filled[name], (given if name in named else own)[name])
    assert "missing in the run, initialized: denoiser/" in capsys.readouterr().out


def test_a_condition_of_another_kind_begins_again_where_only_part_is_asked_for(
    experiment, trained_run, image_folder
):
    other = replace(experiment, conditions=())
    with pytest.raises(InputError, match="has other weights: denoiser/"):
        training.train(other, image_folder / "run", init_from=trained_run)
    assert not (image_folder / "run").exists()
    start = init_from.start_from(trained_run, other, partial=True)
    found = init_from.match(start, jax.eval_shape(lambda: {"denoiser": {}, **shapes(experiment)}))
    assert not found.absent and not found.missing


def test_a_first_stage_goes_on_from_a_diffusion_model_with_a_discriminator_again(
    experiment, trained_run, tmp_path, capsys
):
    first = training.inherit(experiment.first_stage, experiment.data)
    adversary = Adversary(weight=0.5, start=1, channels=4, layers=1)
    first = replace(
        first,
        loss=replace(first.loss, adversary=adversary),
        data=replace(first.data, image_size=16, upscale=True),
        optim=experiment.optim,
        train=experiment.train,
    )
    training.train(first, tmp_path / "run", init_from=trained_run)
    said = capsys.readouterr().out
    assert "of first_stage the averages" not in said  # it did not train there
    assert "a part missing in the run, initialized: discriminator" in said
    given, found = runs.load(trained_run).params["first_stage"], tiny.saved(tmp_path / "run", 1)
    tiny.assert_close(found["params"]["decoder"], given["decoder"], atol=1e-6)


def test_weights_from_elsewhere_are_trained_further(experiment, trained_run, tmp_path):
    trained = runs.load(trained_run)
    converted = tmp_path / "converted"
    runs.write_imported(
        converted, trained.experiment, trained.params, tokenizers=trained.tokenizers
    )
    training.train(experiment, tmp_path / "run", init_from=converted)
    found = tiny.saved(tmp_path / "run", 1)["params"]
    tiny.assert_close(found["denoiser"], trained.params["denoiser"], atol=1e-6)
    tiny.assert_same(found["first_stage"], trained.params["first_stage"])


def test_a_run_of_something_else_is_refused(experiment, trained_run, tmp_path):
    stage = trained_run / "first_stage"
    with pytest.raises(InputError, match=r"is a first stage: .*--first-stage\.run"):
        init_from.start_from(stage, experiment, partial=False)
    with pytest.raises(InputError, match="is not a run"):
        init_from.start_from(tmp_path, experiment, partial=False)
    labels = replace(experiment, conditions=(Label(num_classes=4, dim=8),))
    start = init_from.start_from(trained_run, labels, partial=True)
    with pytest.raises(InputError, match="has none of these weights"):
        init_from.match(start, {"conditioner": {"table": np.zeros((5, 8))}})
