"""How a diffusion model in training is shown: images of it, and their distance to real ones."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from ldm_jax.data import image_files
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.evaluate import in_training
from ldm_jax.sampling.generate import Extras, make_generate
from ldm_jax.train_step.state import Measurement, averaged_params
from ldm_jax.training.source import Source, batches_of
from ldm_jax.types import Batch, DiffusionModel, TrainState


class Parts(NamedTuple):
    """What a diffusion model is trained with.

    model:   as it samples
    reading: as it trains, on latents where the source has them
    """

    experiment: Any
    source: Source
    tokenizers: Mapping[str, Tokenizer]
    model: DiffusionModel
    reading: DiffusionModel

    def batches(self, keys: Sequence[str]):
        """Batches apart from those of training: all examples, the same on each host."""
        seed = self.experiment.seed + 1
        return batches_of(
            self.experiment.data, self.source, seed, tuple(keys), self.tokenizers, whole=True
        )


def generate(experiment: Any, model: DiffusionModel) -> Callable:
    """(params, inputs, seeds) -> images, drawn as the config has it."""
    s = experiment.sampling
    generate = make_generate(model, build_sampler(s.sampler), experiment.data.image_size)
    times, options = sampling.padded_times(s, model.process), sampling.arguments(s)
    given, extras = (times, s.guidance, options), Extras(noise_scale=s.noise_scale)
    return lambda params, inputs, seeds: generate(params, inputs, seeds, *given, extras=extras)


def examples(parts: Parts) -> Callable:
    """() -> a batch by which training is shown, and an iterator over those after it."""

    @functools.cache
    def examples():
        batches = parts.batches(parts.model.conditioner.keys)
        return next(batches), batches

    return examples


def samples(
    parts: Parts, generate: Callable, examples: Callable
) -> Callable[[TrainState], np.ndarray]:
    """What draws images of the same conditions and seeds each time."""

    def sample(state: TrainState) -> np.ndarray:
        example, _ = examples()
        n = min(parts.experiment.train.num_samples, len(example["image"]))
        inputs = {key: example[key][:n] for key in parts.model.conditioner.keys}
        images = generate(averaged_params(state), inputs, np.arange(n, dtype=np.uint32))
        return image_files.grid(image_files.to_uint8(images))

    return sample


def measurement(
    parts: Parts,
    distance: in_training.Distance | None,
    folder: Path,
    generate: Callable,
    examples: Callable,
) -> Measurement:
    """The distance of samples to real images, where that is wanted."""
    if distance is None:
        return Measurement()

    @functools.cache
    def made() -> Measurement:
        example, batches = examples()
        keys = parts.model.conditioner.keys
        conditions = _conditions([example], batches, keys, distance.asked.num)
        train = parts.experiment.train
        return in_training.distance_of_samples(distance, folder, generate, conditions, train)

    return Measurement(distance.asked.every, (distance.column,), lambda state: made().of(state))


def _conditions(held: list[dict], batches, keys: Sequence[str], num: int) -> Batch:
    """What the conditioner reads of `num` examples, each [num, ...], of these batches and the next
    ones."""
    if not keys:
        return {}
    while sum(len(batch["image"]) for batch in held) < num:
        held.append({key: x for key, x in next(batches).items() if key in (*keys, "image")})
    return {key: np.concatenate([batch[key] for batch in held])[:num] for key in keys}
