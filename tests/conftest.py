"""What several tests share: data, and one small trained run."""

import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # where numbers repeat bit for bit; read on import

import jax
import pytest

import sample
from ldm_jax import build, checkpoint, cli, runs, training
from ldm_jax.config import Label
from ldm_jax.data import pipeline
from ldm_jax.train_step.optimizer import optimizer
from ldm_jax.train_step.state import minimise, new_state
from tests.support import tiny

# the tests compile far more than they compute
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session", autouse=True)
def tfds_data_dir(tmp_path_factory):
    """Data sets are prepared in a folder of this session, never in the user's."""
    place = tmp_path_factory.mktemp("tfds_data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(place))
        yield place


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """What the tools keep for later launches is kept for this session only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDM_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """Sixteen captioned and labelled images."""
    return tiny.write_folder(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(scope="session")
def trained_run(image_folder, tmp_path_factory):
    """The run of `tiny.experiment`, both stages trained without a pause; not to be changed."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    training.train(tiny.with_pictures(tiny.experiment(image_folder)), run)
    return run


@pytest.fixture(scope="session")
def class_run(image_folder, tmp_path_factory):
    """A run of class labels with random weights: a network's first answers are all zero. Not to be
    changed."""
    run = tmp_path_factory.mktemp("runs") / "classes"
    condition = Label(num_classes=len(tiny.COLORS), dim=8)
    experiment = tiny.experiment(image_folder, condition=condition)
    source, info = pipeline.open_source(experiment.data)
    model = build.build_model(experiment, None)
    params = {**tiny.drawn(model.init), "first_stage": tiny.drawn(model.first_stage.init)}
    params["conditioner"] = jax.tree.map(lambda x: 5.0 * x, params["conditioner"])  # seen clearly
    state = new_state(
        params, optimizer(experiment.optim, 1), minimise(None, ("denoiser", "conditioner"))
    )
    data = pipeline.batches(experiment.data, source, seed=0, keys=("label",))
    runs.write(run, experiment, None, info)
    with checkpoint.manager(run) as saves:
        checkpoint.save(saves, state, data)
    return run


@pytest.fixture(scope="session")
def caption_run(tmp_path_factory):
    """A run of captions with random weights. Not to be changed, but for samples in it."""
    run, made = tmp_path_factory.mktemp("runs") / "captions", tiny.experiment()
    _, params, tokenizer = tiny.model(made)
    runs.write_imported(run, made, params, None, tokenizer)
    return run


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Runs sample.py with words in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def draw(*words):
        monkeypatch.setattr(sys, "argv", ["sample.py", *map(str, words)])
        cli.main(sample.main)

    return draw
