"""Training with prior preservation: a new word and a class, drawn by the base and not again."""

from dataclasses import replace

import pytest

from ldm_jax import runs, training
from ldm_jax.config import AdapterExperiment, Data, Optim, Prior, TextualInversion, Train
from ldm_jax.errors import InputError
from ldm_jax.training import prior
from tests.support import tiny

CLASS = Prior("a red block", num=5)


@pytest.fixture(scope="module")
def asked(image_folder, trained_run):
    """The training of a new word beside the class of what it names, in two steps."""
    return AdapterExperiment(
        base=str(trained_run),
        adapter=TextualInversion("<toy>", initial="red"),
        prior=CLASS,
        data=Data(path=str(image_folder), batch_size=4, captions=("a <toy> block",)),
        optim=Optim(lr=1e-2, ema_decay=0.9),
        train=Train(steps=2, save_every=2, log_every=1, sample_every=0),
    )


@pytest.fixture(scope="module")
def word_run(asked, tmp_path_factory):
    run = tmp_path_factory.mktemp("prior") / "run"
    training.train(asked, run)
    return run


def test_a_word_trains_beside_its_class(asked, word_run, trained_run):
    images = sorted(path.name for path in (word_run / prior.FOLDER).glob("*.png"))
    assert images == [f"{i:06}.png" for i in range(5)]
    for row in tiny.rows(word_run):
        parts = float(row["subject"]), float(row["class"])
        assert min(parts) > 0
        assert float(row["loss"]) == pytest.approx(sum(parts), rel=1e-4)
    params = tiny.saved(word_run, 2)["params"]
    assert {*params} == {"adapters"}
    table = runs.load(trained_run).params["conditioner"]["token"]["embedding"]
    (vectors,) = params["adapters"]["adapter"]["tokens"]["vectors"][None]
    assert vectors.shape == (1, table.shape[1])


def test_images_of_the_class_are_not_drawn_again(asked, word_run, monkeypatch):
    monkeypatch.setattr(prior, "_draw", None)
    with_prior = replace(asked, prior=replace(CLASS, path=str(word_run / prior.FOLDER)))
    task = training.adapter.adapter_task(with_prior, word_run / "other", dry_run=True)
    assert len(task.source.records) == 16 + 5
    assert prior.ENTRY in task.keys


def test_what_cannot_be_paired(asked, tmp_path, trained_run):
    with pytest.raises(InputError, match=r"data.batch_size is 3: expected an even number"):
        replace(asked, data=replace(asked.data, batch_size=3, image_size=8)).check()
    whole = replace(tiny.experiment(asked.data.path), prior=CLASS)
    first = replace(whole.first_stage, run=str(trained_run / "first_stage"))
    with pytest.raises(InputError, match=r"has 0 images: expected 5, or --init-from RUN, the"):
        training.train(replace(whole, first_stage=first), tmp_path / "run")
