"""Accuracy of a classifier on samples of classes."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ldm_jax import runs, training
from ldm_jax.autoencoders.latents import factor
from ldm_jax.config import Classifier, ClassifierExperiment, Diffusion, Optim, Train
from ldm_jax.data import transforms
from ldm_jax.errors import InputError
from ldm_jax.evaluate.labels import Options, accuracies, labels, make_reader
from ldm_jax.types import Gaussian, LatentClassifier
from tests.support import tiny

CLASSES = sorted(tiny.COLORS)


def test_accuracy_is_of_each_class_requested_and_of_all():
    asked, found = np.array([0, 1, 0, 1, 0]), np.array([0, 1, 1, 1, 2])
    rows = accuracies(found, asked, ("a", "b", "c"))
    assert rows == {"a": pytest.approx(1 / 3), "b": 1.0, "all": pytest.approx(3 / 5)}


def test_the_reader_sees_scaled_latents_with_next_to_no_noise():
    times = []

    def network(params, z, time):
        times.append(time)
        return jnp.stack([z.mean((1, 2, 3)), jnp.full(len(z), params)], axis=1)

    def posterior(params, images):
        return Gaussian(images, jnp.zeros_like(images))

    classifier = LatentClassifier(
        init=None,
        first_stage=tiny.first_stage(posterior=posterior),
        process=Diffusion(steps=20).build_process(),
        network=network,
    )
    params = {"first_stage": factor(3, 2.0), "classifier": 0.5}
    images = np.stack([np.full((4, 4, 3), value, np.float32) for value in (0.2, 0.3, -1.0, 1.0)])
    assert make_reader(classifier)(params, images).tolist() == [1, 0, 1, 0]  # 0.5 = 2 * 0.25
    assert times[0].shape == (4,)
    images[1] = np.nan  # whose logits are none
    assert make_reader(classifier)(params, images).tolist() == [1, -1, 1, 0]


@pytest.fixture(scope="module")
def classifier_run(class_run, tmp_path_factory):
    """A classifier of the latents of `class_run`."""
    run = tmp_path_factory.mktemp("runs") / "classifier"
    experiment = ClassifierExperiment(
        diffusion_run=str(class_run),
        model=Classifier(8, (1,), 1, (), head_channels=4, norm_groups=4),
        optim=Optim(lr=1e-2, ema_decay=0.9),
        train=Train(steps=4, save_every=4, log_every=4, sample_every=0),
    )
    training.train(experiment, run)
    return run


def test_what_is_drawn_and_what_is_real_are_scored(
    class_run, classifier_run, image_folder, tmp_path, capsys
):
    out = tmp_path / "labels"
    asked = Options(num=10, batch_size=8, real=str(image_folder), out=str(out))
    labels(str(class_run), str(classifier_run), asked)
    scores = json.loads((out / "scores.json").read_text())
    assert set(scores) == {"drawn", "real"}
    classifier = runs.with_weights(runs.describe_classifier(classifier_run))
    drawn = transforms.normalize(np.load(out / "samples.npz")["arr_0"])
    found = np.asarray(make_reader(classifier.model)(classifier.params, drawn))
    assert scores["drawn"] == accuracies(found, np.arange(10) % 4, CLASSES)
    said = capsys.readouterr().out
    assert f"label accuracy: {scores['drawn']['all']:.1%} (by chance 25.0%)" in said


def test_what_cannot_be_classified_is_refused(trained_run, class_run, classifier_run, tmp_path):
    with pytest.raises(InputError, match="a model of captions: expected one that reads 'label'"):
        labels(str(trained_run), str(classifier_run), Options())
    with pytest.raises(InputError, match="expected the run of a classifier"):
        labels(str(class_run), str(trained_run), Options())
    (tmp_path / "red").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "red" / "a.png")
    asked = Options(real=str(tmp_path), out=str(tmp_path / "out"))
    with pytest.raises(InputError, match="has the classes red: expected blue, green, grey, red"):
        labels(str(class_run), str(classifier_run), asked)
    assert not (tmp_path / "out").exists()
