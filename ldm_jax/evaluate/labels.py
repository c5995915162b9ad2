"""Accuracy of a classifier of real images on samples of a model of classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import runs
from ldm_jax.autoencoders.latents import scaled
from ldm_jax.data import pipeline, transforms
from ldm_jax.diffusion.guidance.classifier import classify
from ldm_jax.errors import InputError
from ldm_jax.evaluate import held_out, results
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
    described, classifier_run = options.described(run), runs.describe_classifier(Path(classifier))
    count = _check(view(described), classifier_run)
    real = options.real and _real(classifier_run, options)
    out = results.folder_of(options.out, run, "labels")
    drawn = held_out.draw(described, options, out, options.num)
    params = runs.with_weights(classifier_run).params
    names = described.class_names or tuple(map(str, range(count)))
    sets = {"drawn": (transforms.normalize(drawn), np.arange(options.num) % count)}
    sets |= {"real": real} if real else {}
    reader, scores = make_reader(classifier_run.model), {}
    for kind, (images, asked) in sets.items():
        found = in_batches(
            lambda chosen, _: reader(params, chosen["image"]),
            {"image": images},
            np.arange(len(images)),
            options.batch_size,
        )
        if found.min() < 0:
            raise FloatingPointError(
                f"the classifier's logits of {np.sum(found < 0)} of {len(found)} images ({kind}) "
                "are not finite: its weights are damaged, or the images are none that it knows"
            )
        scores[kind] = accuracies(found, asked, names)
    results.write_json(out / "scores.json", scores)
    for name in (*names, "all"):
        each = "  ".join(
            f"{kind} {rows[name]:6.1%}" for kind, rows in scores.items() if name in rows
        )
        print(f"{name:12} {each}")
    print(f"label accuracy: {scores['drawn']['all']:.1%} (by chance {1 / count:.1%})")


def make_reader(classifier_run: LatentClassifier) -> Callable[[Params, Array], Array]:
    """(the classifier's params, images [B, H, W, 3]) -> class [B] int32, compiled; -1: none, since
    logits are not finite.

    It reads the mean of the posterior, at the lowest noise level of training.
    """

    @jax.jit
    def read(params: Params, images: Array) -> Array:
        posterior = classifier_run.first_stage.posterior(params["first_stage"], images)
        z = scaled(params["first_stage"], posterior.mean)
        t = jnp.full(len(z), 1.0)

        def network(z, time):
            return classifier_run.network(params["classifier"], z, time)

        logits = classify(network, classifier_run.process, z, t)
        return jnp.where(jnp.all(jnp.isfinite(logits), axis=1), jnp.argmax(logits, axis=1), -1)

    return read


def accuracies(found: np.ndarray, asked: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Share of `found` [N] equal to `asked` [N]: for each class of it, and for "all"."""
    right = found == asked
    each = {name: right[asked == i] for i, name in enumerate(names)}
    return {name: float(np.mean(r)) for name, r in (each | {"all": right}).items() if len(r)}


def _check(run: RunView, classifier: runs.Trained) -> int:
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


def _real(classifier_run: runs.Trained, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """All images of `options.real` [N, H, W, 3] and their labels [N]."""
    data = replace(classifier_run.experiment.data, path=options.real, split=options.split)
    source, info = results.open_images(data)
    if info.class_names != classifier_run.class_names:
        raise InputError(
            f"--real '{options.real}' has the classes {', '.join(info.class_names) or 'none'}: "
            f"expected {', '.join(classifier_run.class_names)}, those of the classifier"
        )
    batches = list(pipeline.once(data, source, info.num_examples, ("label",)))
    return tuple(np.concatenate([batch[name] for batch in batches]) for name in ("image", "label"))
