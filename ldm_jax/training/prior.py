"""Images of a subject's class beside those of the subject, see `train_step.prior_preservation`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ldm_jax import runs
from ldm_jax.data import class_images, latents
from ldm_jax.data.image_files import to_uint8
from ldm_jax.data.paired import Paired
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.runtime import hosts
from ldm_jax.settings import check_folder
from ldm_jax.train_step.prior_preservation import ENTRY, Prior
from ldm_jax.training import shown
from ldm_jax.training.source import Source, open_source

FOLDER = "class_images"  # of a run


def keys(experiment: Any) -> tuple[str, ...]:
    """The entries of a batch that prior preservation reads."""
    return (ENTRY,) if experiment.prior else ()


def weight(experiment: Any) -> float | None:
    """The weight of images of the class; None: there are none."""
    return experiment.prior.weight if experiment.prior else None


def with_class(
    source: Source, experiment: Any, folder: Path, base: str | Path | None, dry_run: bool
) -> Source:
    """A source of pairs, where the experiment asks for them; missing images are drawn before.

    Args:
        folder: of the run.
        base: the run that draws; None: there is none.
        dry_run: whether none are drawn.
    """
    prior, data = experiment.prior, experiment.data
    if not prior:
        return source
    if isinstance(source.records, latents.Source):
        raise InputError(
            f"data.path '{data.path}' holds latents: expected images, or --prior.prompt \"\", "
            "since images of a class are drawn"
        )
    place = Path(prior.path or folder / FOLDER)
    check_folder(place, "prior.path")
    missing = len(class_images.missing(place, prior.num))
    if missing and base is None:
        raise InputError(
            f"prior.path '{place}' has {prior.num - missing} images: expected {prior.num}, or "
            "--init-from RUN, the model that draws the others"
        )
    other = source
    if not (missing and dry_run):
        if missing:
            with hosts.first_before_others():
                _fill(place, prior, Path(base), data.batch_size)
        other = open_source(replace(data, path=str(place), captions=(prior.prompt,), repeats=False))
    records = Paired(source.records, other.records)
    derive = {ENTRY: lambda example, rng: np.bool_(records.is_prior(example["index"]))}
    info = source.info._replace(num_examples=len(records))
    return Source(records, info, {**source.derive, **derive})


def _fill(place: Path, prior: Prior, base: Path, batch_size: int) -> None:
    """Draws the images of a class that a folder lacks."""
    count = class_images.fill(place, prior.num, _draw(base, prior.prompt), batch_size)
    if count:
        print(f"prior: {count} images of '{prior.prompt}' drawn by {base} are in {place}")


def _draw(base: Path, prompt: str) -> Callable[[np.ndarray], np.ndarray]:
    """Seeds [n] -> images of the prompt, uint8 [n, H, W, 3], as the model draws by itself.

    Raises:
        InputError: the model reads something beside captions.
    """
    trained = runs.load(base)
    entries = trained.model.conditioner.keys
    if set(entries) != set(trained.tokenizers):
        raise InputError(
            f"prior is for models of captions, and '{base}' reads {', '.join(entries) or 'nothing'}"
            ': expected --prior.prompt ""'
        )
    generate = shown.generate(trained.experiment, trained.model)
    ids = {name: tokens.encode(one, prompt) for name, one in trained.tokenizers.items()}

    def draw(seeds: np.ndarray) -> np.ndarray:
        inputs = {name: np.tile(x, (len(seeds), 1)) for name, x in ids.items()}
        return to_uint8(generate(trained.params, inputs, seeds))

    return draw
