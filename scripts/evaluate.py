"""Measures a run.

python scripts/evaluate.py captions RUN [--num 200] [--out DIR] [sampling options]
    draws pictures for captions of `shapes` whose combinations of shape, color and position were
    held out from training, reads them, and prints the share that shows all that its caption says
python scripts/evaluate.py bound RUN [--split test] [--num N] [--draws 10]
    the bound of a variational autoencoder on the log-probability of images, in nats and in bits
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from ldm_jax import cli, pictures, request, runs
from ldm_jax.config import Data, MLPAutoencoder
from ldm_jax.data import pipeline
from ldm_jax.errors import InputError
from ldm_jax.losses.likelihood import bits_per_dimension
from ldm_jax.metrics.caption_accuracy import caption_scores
from ldm_jax.pipelines.bound import negative_bound


@dataclass(frozen=True)
class Captions:
    """The settings of `captions`; what is None is as the run's config has it."""

    out: str | None = None
    """folder to write to; RUN/captions where not given"""
    num: int = 200
    batch_size: int = 50
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None


def captions(run: Path, words: Sequence[str]) -> None:
    """Caption accuracy on held-out combinations."""
    options = cli.override(Captions(), words, "evaluate.py captions RUN", __doc__)
    trained = runs.load(run)
    data = replace(trained.experiment.data, split="test")
    if data.path != "shapes":
        raise InputError(
            f"run '{run}' was trained on '{data.path}': caption accuracy can only be read from "
            "pictures of shapes, where every attribute is known"
        )
    source, info = pipeline.open_source(data)
    if options.num > info.num_examples:
        raise InputError(
            f"--num is {options.num}: expected at most {info.num_examples}, the held-out captions"
        )
    texts = pipeline.captions(source, options.num)
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    wanted = request.resolve(trained, **settings, prompt=texts)
    images = request.draw(trained, wanted)
    scores = caption_scores(images, texts)
    out = Path(options.out or run / "captions")
    request.write(out, images, trained, wanted)
    shown = min(len(images), 24)
    pictures.save(out / "grid.png", pictures.captioned(images[:shown], texts[:shown]))
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    for name, value in scores.items():
        if name != "caption":
            print(f"{name + ' accuracy:':18} {value:6.1%}")
    print(f"grid: {out / 'grid.png'}")
    print(f"caption accuracy: {scores['caption']:.1%}")


@dataclass(frozen=True)
class Bound:
    """The settings of `bound`."""

    path: str | None = None
    """images to measure on; those of the run where not given"""
    split: str = "test"
    num: int | None = None
    """images; all where not given"""
    draws: int = 10
    """from the posterior, for each image"""
    batch_size: int = 100
    seed: int = 0


def bound(run: Path, words: Sequence[str]) -> None:
    """-log p(x) at most, in nats an image and bits a dimension."""
    options = cli.override(Bound(), words, "evaluate.py bound RUN", __doc__)
    described = runs.describe_first_stage(run)
    model = described.experiment.model
    if not isinstance(model, MLPAutoencoder):
        raise InputError(
            f"run '{run}' is of a {type(model).__name__}: expected an MLPAutoencoder, whose "
            "decoder says how probable an image is"
        )
    for name in ("draws", "batch_size", "num"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} is {value}: expected at least 1")
    data = described.experiment.data
    data = replace(data, path=options.path or data.path, split=options.split, flip=False)
    source, info = pipeline.open_source(data)
    num = options.num or info.num_examples
    if num > info.num_examples:
        raise InputError(
            f"--num is {num}: expected at most {info.num_examples}, the images of "
            f"{data.path} {data.split}"
        )
    trained = runs.with_weights(described)
    images = _images(replace(data, batch_size=min(options.batch_size, num)), source, num)
    key = jax.random.key(options.seed)
    terms = negative_bound(trained.model, trained.params, images, key, options.draws)
    dimensions = model.image_size**2 * model.image_channels
    for name, nats in terms.items():
        error = np.std(nats) / np.sqrt(num)
        print(f"{name.replace('_', ' ')}: {np.mean(nats):.2f} +- {error:.2f} nats")
    bits = bits_per_dimension(-np.mean(terms["negative_bound"]), dimensions)
    print(f"bits per dimension: {bits:.4f} ({num} images of {data.path} {data.split})")


def _images(data: Data, source, num: int) -> Iterator[np.ndarray]:
    """`num` different images, in batches."""
    batches = pipeline.batches(data, source, seed=0, keys=())  # an epoch first, each image once
    for start in range(0, num, data.batch_size):
        yield next(batches)["image"][: num - start]


def main(words: Sequence[str]) -> None:
    """Parse, call."""
    tools = {"captions": captions, "bound": bound}
    if "--help" in words[:1] or "-h" in words[:1]:
        print(__doc__)
        return
    if len(words) < 2 or words[0] not in tools:
        raise InputError(
            f"'{' '.join(words[:1])}' is no evaluation: expected python scripts/evaluate.py "
            f"{{{','.join(tools)}}} RUN"
        )
    tools[words[0]](Path(words[1]), words[2:])


if __name__ == "__main__":
    cli.main(main)
