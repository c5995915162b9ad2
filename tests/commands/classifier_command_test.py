"""A classifier of noised latents, from train.py on: what it refuses, and how it resumes."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ldm_jax import checkpoint, cli, runs, training
from ldm_jax.config import Classifier, ClassifierExperiment, Data, Optim, Train
from ldm_jax.errors import InputError
from tests.support import tiny

CLASSES = sorted(tiny.COLORS)


def experiment(guided: Path, **changes) -> ClassifierExperiment:
    """The smallest classifier of the latents of a diffusion model, four steps."""
    default = ClassifierExperiment(
        diffusion_run=str(guided),
        model=Classifier(
            channels=8,
            channel_mults=(1,),
            num_res_blocks=1,
            attention_factors=(),
            head_channels=4,
            norm_groups=4,
        ),
        optim=Optim(lr=1e-2, ema_decay=0.9),
        train=Train(steps=4, save_every=2, log_every=1, sample_every=0),
    )
    return replace(default, **changes)


@pytest.fixture(scope="module")
def classifier_run(trained_run, tmp_path_factory):
    """A classifier of the latents of `trained_run`, trained without a pause."""
    run = tmp_path_factory.mktemp("runs") / "classifier"
    training.train(experiment(trained_run), run)
    return run


def test_it_sees_the_latents_the_noise_and_the_data_of_the_diffusion_model(
    classifier_run, trained_run
):
    found, guided = runs.describe_classifier(classifier_run), runs.describe(trained_run)
    assert found.experiment.diffusion == guided.experiment.diffusion
    assert found.experiment.first_stage == guided.experiment.first_stage
    assert found.experiment.data == guided.experiment.data
    assert found.class_names == tuple(CLASSES)
    assert found.experiment.num_classes == len(CLASSES)
    for step in (2, 4):
        ours = tiny.saved(classifier_run, step)["params"]["first_stage"]
        tiny.assert_same(ours, tiny.saved(trained_run, 4)["params"]["first_stage"])


def test_only_the_classifier_is_averaged_and_trained(classifier_run):
    early, late = (tiny.saved(classifier_run, step) for step in (2, 4))
    assert set(late["params"]) == {"classifier", "first_stage"}
    assert set(late["ema"]) == {"classifier"}
    before, after = (tiny.arrays(x["params"]["classifier"]) for x in (early, late))
    assert any(np.any(before[name] != after[name]) for name in before)


def test_a_resumed_run_is_the_same_bit_for_bit(classifier_run, tmp_path):
    run = Path(shutil.copytree(classifier_run, tmp_path / "again"))
    shutil.rmtree(run / "checkpoints" / "4")  # as if it had died before
    assert checkpoint.latest_step(run) == 2
    training.train(cli.load_config(run / "config.py"), run)
    for step in (2, 4):
        tiny.assert_same(tiny.saved(run, step), tiny.saved(classifier_run, step))
    assert tiny.rows(run) == tiny.rows(classifier_run)
    assert {"loss", "accuracy"} <= tiny.rows(run)[0].keys()


def test_the_same_again_says_that_it_is_trained(classifier_run, trained_run, capsys):
    training.train(experiment(trained_run), classifier_run)
    assert capsys.readouterr().out.endswith("classifier: trained already (4 steps)\n")


def test_its_first_stage_is_found_where_first_stages_are_measured(classifier_run):
    found = runs.with_weights(runs.find_first_stage(classifier_run))
    tiny.assert_same(found.params, tiny.saved(classifier_run, 4)["params"]["first_stage"])


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"diffusion_run": None}, ["diffusion_run is not set", "--diffusion-run RUN"]),
        ({"diffusion_run": "nowhere"}, ["run 'nowhere' does not exist"]),
        ({"num_classes": 3}, ["label 3 of class 'red'", "num_classes is 3; set it to 4"]),
        ({"data": Data(image_size=16)}, ["data.image_size is 16: expected 8"]),
        ({"model": Classifier(8, (1, 2))}, ["head_channels is 64"]),
        (
            {"model": Classifier(8, (1,), head_channels=4, norm_groups=3)},
            ["model.norm_groups is 3: expected a divisor of 8"],
        ),
        (
            {"model": Classifier(channel_mults=(1,) * 4)},
            ["4 levels, for latents of a multiple of 8", "those of the diffusion model have 4"],
        ),
    ],
    ids=["no-run", "nowhere", "classes", "size", "heads", "groups", "levels"],
)
def test_what_cannot_be_trained_is_refused_and_nothing_written(
    trained_run, tmp_path, changes, fragments
):
    with pytest.raises(InputError) as refusal:
        training.train(experiment(trained_run, **changes), tmp_path / "run")
    for fragment in fragments:
        assert fragment in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_a_classifier_is_taken_for_nothing_else(classifier_run, trained_run):
    for read, said in (
        (runs.describe, "is a classifier: expected the run of a diffusion model"),
        (runs.describe_first_stage, "is a classifier: expected the run of a first stage"),
    ):
        with pytest.raises(InputError, match=said):
            read(classifier_run)
    for run in (trained_run, trained_run / "first_stage"):
        with pytest.raises(InputError, match="expected the run of a classifier"):
            runs.describe_classifier(run)
