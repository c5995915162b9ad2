"""Training on images with maps of depth."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ldm_jax import runs, training
from ldm_jax.config import Depth
from ldm_jax.errors import InputError
from tests.support import tiny


@pytest.fixture(scope="module")
def depths(tmp_path_factory):
    """Captioned images with maps beside them, twice as large."""
    root = tiny.write_folder(tmp_path_factory.mktemp("depths") / "images")
    rows = [json.loads(row) for row in (root / "metadata.jsonl").read_text().splitlines()]
    for i, row in enumerate(rows):
        near = np.add.outer(np.arange(16), i * np.arange(16)).astype(np.uint16)
        (root / "maps").mkdir(exist_ok=True)
        Image.fromarray(near).save(root / "maps" / f"{i}.png")
        row["depth"] = f"maps/{i}.png"
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_a_model_of_captions_and_depth_is_trained(depths, trained_run, tmp_path):
    experiment = tiny.with_conditions(tiny.experiment(depths), Depth())
    first = replace(experiment.first_stage, run=str(trained_run / "first_stage"))
    train = replace(experiment.train, steps=2)
    training.train(replace(experiment, first_stage=first, train=train), tmp_path / "run")
    kernel = runs.load(tmp_path / "run").params["denoiser"]["conv_in"]["kernel"]
    assert kernel.shape[2] == 2 + 1  # latents, and depth beside them
    assert all(np.isfinite(float(row["loss"])) for row in tiny.rows(tmp_path / "run"))


def test_a_folder_without_depth_says_what_is_missing(image_folder, trained_run, tmp_path):
    experiment = tiny.with_conditions(tiny.experiment(image_folder), Depth())
    first = replace(experiment.first_stage, run=str(trained_run / "first_stage"))
    with pytest.raises(InputError, match=r"no field 'depth' .*of 16.: expected .depth"):
        training.train(replace(experiment, first_stage=first), tmp_path / "run")
    assert not (tmp_path / "run").exists()
