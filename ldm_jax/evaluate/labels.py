"""Accuracy of a classifier of real images on samples of a model of classes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import runs, sampling
from ldm_jax.autoencoders.latents import scaled
from ldm_jax.data import pipeline, transforms
from ldm_jax.diffusion.guidance.classifier import classify
from ldm_jax.errors import InputError
from ldm_jax.evaluate import held_out
from ldm_jax.sampling.generate import in_batches
from ldm_jax.sampling.view import view
from ldm_jax.sections import RunView
from ldm_jax.types import Array, LatentClassifier, Params


@dataclass(frozen=True)
class Options(held_out.Options):
    """The settings of `labels`."""

    real: str | None = None
    """held-out images with classes, to measure the classifier's own accuracy"""
    split: str = "train"
    """of these images, where they are a data set that has splits"""


def labels(run: str, classifier: str, options: Options) -> None:
    """Draws images of each class, classifies them, prints accuracies.

    The classifier is a run of `ClassifierExperiment`: it reads the latents of its own first stage,
    at the least noise of its training.

    Raises:
        InputError: a model of no classes, or a classifier of others.
    """
    described, classifier_run = runs.describe(Path(run)), runs.describe_classifier(Path(classifier))
    understood = view(described)
    count = _check(understood, classifier_run)
    real = options.real and _real(classifier_run, options)
    request = options.request(understood, num=options.num, batch_size=options.batch_size)
    trained = runs.with_weights(described)
    drawn = sampling.draw(trained, request)
    params = runs.with_weights(classifier_run).params
    read = make_reader(classifier_run.model)
    asked = np.arange(options.num) % count
    found = _read_all(read, params, transforms.normalize(drawn.images), options.batch_size)
    names = trained.class_names or tuple(map(str, range(count)))
    scores = {"drawn": accuracies(found, asked, names)}
    if real:
        images, truth = real
        found = _read_all(read, params, images, options.batch_size)
        scores["real"] = accuracies(found, truth, names)
    out = Path(options.out or runs.folder(run) / "labels")
    sampling.write(out, drawn, trained, request)
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n", "utf-8")
    for name in (*names, "all"):
        each = "  ".join(f"{kind} {rows[name]:6.1%}" for kind, rows in scores.items())
        print(f"{name:12} {each}")
    print(f"label accuracy: {scores['drawn']['all']:.1%} (by chance {1 / count:.1%})")


def make_reader(classifier_run: LatentClassifier) -> Callable[[Params, Array], Array]:
    """(the classifier's params, images [B, H, W, 3]) -> class [B] int32, compiled.

    It reads the mean of the posterior, at the lowest noise level of training.
    """

    @jax.jit
    def read(params: Params, images: Array) -> Array:
        posterior = classifier_run.first_stage.posterior(params["first_stage"], images)
        z = scaled(params["first_stage"], posterior.mean)
        t = jnp.full(len(z), 1.0)

        def network(z, time):
            return classifier_run.network(params["classifier"], z, time)

        return jnp.argmax(classify(network, classifier_run.process, z, t), axis=1)

    return read


def accuracies(found: np.ndarray, asked: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Share of `found` [N] equal to `asked` [N]: for each class of it, and for "all"."""
    right = found == asked
    each = {name: right[asked == i] for i, name in enumerate(names)}
    return {name: float(np.mean(r)) for name, r in (each | {"all": right}).items() if len(r)}


def _read_all(read: Callable, params: Params, images: np.ndarray, batch_size: int) -> np.ndarray:
    def of_batch(chosen: dict[str, np.ndarray], _: np.ndarray) -> Array:
        return read(params, chosen["image"])

    return in_batches(of_batch, {"image": images}, np.arange(len(images)), batch_size)


def _check(run: RunView, classifier: runs.TrainedClassifier) -> int:
    """The number of classes; InputError unless the classifier tells apart what the model draws."""
    counts = classifier.experiment.num_classes, held_out.condition_of(run, "label").num_classes
    if counts[0] != counts[1] or classifier.class_names != run.class_names:
        raise InputError(
            f"classifier '{classifier.run}' tells {counts[0]} classes apart "
            f"({', '.join(classifier.class_names)}), run '{run.run}' draws {counts[1]} "
            f"({', '.join(run.class_names)}): expected the same"
        )
    sizes = classifier.experiment.data.image_size, run.image_size
    if sizes[0] != sizes[1]:
        raise InputError(
            f"classifier '{classifier.run}' reads images of {sizes[0]} pixels and run '{run.run}' "
            f"draws {sizes[1]}: expected the same"
        )
    return counts[0]


def _real(
    classifier_run: runs.TrainedClassifier, options: Options
) -> tuple[np.ndarray, np.ndarray]:
    """All images of `options.real` [N, H, W, 3] and their labels [N]."""
    data = replace(classifier_run.experiment.data, path=options.real, split=options.split)
    source, info = pipeline.open_source(data)
    if info.class_names != classifier_run.class_names:
        raise InputError(
            f"--real '{options.real}' has the classes {', '.join(info.class_names) or 'none'}: "
            f"expected {', '.join(classifier_run.class_names)}, those of the classifier"
        )
    batches = list(pipeline.once(data, source, info.num_examples, ("label",)))
    return tuple(np.concatenate([batch[name] for batch in batches]) for name in ("image", "label"))
