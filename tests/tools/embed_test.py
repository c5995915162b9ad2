"""Embeddings of a data set in a file, and what is made of them by a model of retrieval."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ldm_jax import checkpoint, runs, training
from ldm_jax.config import Retrieval
from ldm_jax.errors import InputError
from ldm_jax.evaluate import retrieval as evaluation
from ldm_jax.evaluate.retrieval import nearness
from ldm_jax.tools import embed as embeddings
from tests.support import tiny


def mean_colors(name, weights, batch_size):
    """An embedder: the mean of the upper and of the lower half of an image, 6 numbers."""

    def embed(batches, total=None):
        batches = list(batches)
        assert max(map(len, batches)) <= batch_size
        images = np.concatenate(batches).astype(np.float32)
        return images.reshape(len(images), 2, -1, 3).mean(2).reshape(-1, 6)

    return embed


@pytest.fixture(autouse=True)
def _simple_embedder(monkeypatch):
    monkeypatch.setattr(embeddings, "embedder", mean_colors)
    monkeypatch.setattr(evaluation, "embedder", mean_colors)


def test_each_row_is_of_the_image_with_its_number(image_folder, tmp_path, capsys):
    data = tiny.experiment(image_folder).data
    embeddings.embed(replace(data, flip=True), tmp_path / "rows.npy", "any", None, batch_size=3)
    images = [np.asarray(Image.open(image_folder / f"{i:02}.png")) for i in range(16)]
    expected = mean_colors("", None, 16)([np.stack(images)])
    np.testing.assert_allclose(np.load(tmp_path / "rows.npy"), expected, atol=0.5)
    assert "16 embeddings of 6 numbers" in capsys.readouterr().out


def test_an_image_that_cannot_be_read_would_move_the_rows(image_folder, tmp_path):
    data = tiny.experiment(tmp_path / "images").data
    tiny.write_folder(tmp_path / "images")
    (tmp_path / "images" / "03.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"03\.png"):
        embeddings.embed(data, tmp_path / "rows.npy", "any", None, batch_size=4)
    assert not list(tmp_path.glob("*.npy*"))


def test_nothing_is_written_over(image_folder, tmp_path):
    (tmp_path / "rows.npy").write_bytes(b"kept")
    data = tiny.experiment(image_folder).data
    for name in ("rows.npy", "rows.txt", "none/rows.npy"):
        with pytest.raises(InputError, match="no name of a new"):
            embeddings.embed(data, tmp_path / name, "any", None, batch_size=4)
    assert (tmp_path / "rows.npy").read_bytes() == b"kept"


def test_nearness_is_the_cosine_to_ones_own_and_to_the_next_ones_query():
    queries = np.float32([[1, 0], [0, 2]])
    own, other = nearness(np.float32([[3, 0], [1, 1]]), queries)
    np.testing.assert_allclose(own, [1, np.sqrt(0.5)])
    np.testing.assert_allclose(other, [0, np.sqrt(0.5)])


def test_images_are_drawn_for_the_neighbours_of_held_out_images(
    image_folder, trained_run, tmp_path, capsys
):
    rows = tmp_path / "rows.npy"
    experiment = tiny.experiment(image_folder)
    given = replace(experiment.first_stage, run=str(trained_run / "first_stage"))
    experiment = replace(experiment, first_stage=given)
    embeddings.embed(experiment.data, rows, "any", None, batch_size=4)
    condition = Retrieval(dim=6, neighbours=2, embeddings=str(rows))
    training.train(replace(experiment, conditions=(condition,)), tmp_path / "run")
    evaluation.retrieval(str(tmp_path / "run"), evaluation.Options(num=5, batch_size=4))
    said = capsys.readouterr().out
    assert "by chance 50.0%" in said
    out = tmp_path / "run" / "retrieval"
    assert np.load(out / "queries.npy").shape == (5, 6)
    assert len(list(out.glob("0*.png"))) == 5
    other = Retrieval(dim=4, embeddings=str(rows))
    described = runs.describe(tmp_path / "run")
    assert described.experiment.conditions[0] == condition
    assert checkpoint.latest_step(tmp_path / "run") == 4
    with pytest.raises(InputError, match="expected floats"):
        training.train(replace(experiment, conditions=(other,)), tmp_path / "other")


def test_models_of_other_conditions_are_refused(trained_run):
    with pytest.raises(
        InputError, match="a model of captions: expected one that reads 'neighbours'"
    ):
        evaluation.retrieval(str(trained_run), evaluation.Options())
