"""Examples that training did not see, and their conditions, in place of files."""

from dataclasses import replace

import numpy as np

from ldm_jax import runs
from ldm_jax.config import Condition
from ldm_jax.data import pipeline
from ldm_jax.errors import InputError
from ldm_jax.sampling.takes import task_of
from ldm_jax.types import Batch


def from_data(trained: runs.Trained, count: int) -> Batch:
    """The conditions of examples that training did not see, each [count, ...].

    Raises:
        InputError: fewer examples, or none that are held out.
    """
    condition, keys = task_of(trained.experiment), trained.model.conditioner.keys
    if trained.experiment.beside:
        keys = tuple(key for key in keys if key != "tokens")
    batch = held_out(trained.experiment.data, condition, keys, count)
    return {key: batch[key] for key in keys}


def held_out(data, condition: Condition, keys: tuple[str, ...], count: int) -> Batch:
    """Images of the test split and their conditions, each [count, ...]."""
    if count < 1:
        raise InputError(f"--from-data is {count}: expected at least 1")
    if not condition.held_out:
        raise InputError(
            f"--from-data is {count}: leave it out, and give {condition.takes((0, 0))}"
        )
    data = replace(data, split="test")
    source, info = pipeline.open_source(data)
    if count > info.num_examples:
        raise InputError(
            f"--from-data is {count}: expected at most {info.num_examples}, the examples of "
            f"{source.name}"
        )
    pipeline.check_batch(replace(data, batch_size=1), source, keys)
    derive = condition.derive(1)
    batches = list(pipeline.once(data, source, count, keys, derive))
    return {name: np.concatenate([b[name] for b in batches]) for name in ("image", *keys)}
