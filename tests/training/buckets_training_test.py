"""Training on images of several shapes: a program for each, and a run resumes exactly."""

import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

from ldm_jax import config, runs, training
from ldm_jax.config import FirstStageExperiment
from ldm_jax.errors import InputError
from tests.support import tiny


@pytest.fixture(scope="module", name="experiment")
def _experiment(tmp_path_factory):
    """A diffusion model on a first stage that is drawn, over images of two shapes."""
    place = tmp_path_factory.mktemp("buckets")
    (place / "images").mkdir()
    for i in range(16):
        pixels = np.random.default_rng(i).integers(0, 256, ((12, 12), (8, 16))[i % 2] + (3,))
        Image.fromarray(pixels.astype(np.uint8)).save(place / "images" / f"{i:02}.png")
    made = tiny.experiment(place / "images", conditions=())
    params = tiny.drawn(made.first_stage.model.build().init)
    own = FirstStageExperiment(model=made.first_stage.model, data=config.Data(image_size=12))
    runs.write_imported(place / "stage", own, params)
    data = replace(made.data, image_size=12, batch_size=4, buckets=4)
    first = replace(own, run=str(place / "stage"))
    return replace(
        made, first_stage=first, data=data, latent_scale=1.0, train=replace(made.train, steps=6)
    )


def test_a_program_is_compiled_for_each_size_and_a_run_resumes_exactly(experiment, tmp_path, capfd):
    training.train(experiment, tmp_path / "whole")
    said = "".join(capfd.readouterr())
    assert "buckets: 12x12 (8), 16x8 (8); as many programs, 2, are compiled at most" in said
    assert said.count("GFLOP") == 2
    shutil.copytree(tmp_path / "whole", tmp_path / "died")
    shutil.rmtree(tmp_path / "died" / "checkpoints" / "6")  # as if it had died before
    training.train(experiment, tmp_path / "died")
    tiny.assert_same(tiny.saved(tmp_path / "died", 6), tiny.saved(tmp_path / "whole", 6))
    moved = jax.tree.leaves(tiny.saved(tmp_path / "whole", 6)["params"]["denoiser"])
    assert any(np.any(np.asarray(x)) for x in moved)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"buckets": 3}}, "data.buckets is 3: expected a multiple of 2"),
        ({"data": {"bucket_aspect": 0.5}}, "data.bucket_aspect is 0.5: expected more than 1"),
        (
            {"conditions": (config.Inpainting(),)},
            "data.buckets is 4: expected 0, since a model with the condition Inpainting",
        ),
    ],
)
def test_buckets_that_a_model_cannot_have_are_refused(experiment, changes, said):
    changed = dict(changes)
    if "data" in changed:
        changed["data"] = replace(experiment.data, **changed["data"])
    with pytest.raises(InputError, match=said):
        replace(experiment, **changed).check()


def test_a_first_stage_is_trained_on_squares(experiment):
    own = replace(experiment.first_stage, run=None)
    with pytest.raises(InputError, match=r"data\.buckets is 4: expected 0, since a first stage"):
        replace(own, data=experiment.data).check()
