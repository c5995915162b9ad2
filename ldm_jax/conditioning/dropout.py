"""Hiding conditions in training, so that one network learns both with and without."""

import jax
import jax.numpy as jnp

from ldm_jax.types import Array, Batch, Conditioner


def drop(
    conditioner: Conditioner,
    inputs: Batch,
    keys: Array,
    rate: float,
    size: tuple[int, int] = (1, 1),
) -> Batch:
    """Replaces each example's condition by the null with probability `rate`.

    Ho and Salimans 2022, algorithm 1.

    Args:
        inputs: the entries that the conditioner reads, each [B, ...].
        keys: [B], one key an example.
        size: (h, w) of the latents.
    """
    hidden = jax.vmap(lambda key: jax.random.bernoulli(key, rate))(keys)
    null = conditioner.null(len(hidden), *size)

    def choose(with_condition, without):
        return jnp.where(hidden.reshape(-1, *[1] * (without.ndim - 1)), without, with_condition)

    dropped = {name: choose(inputs[name], null[name]) for name in conditioner.droppable}
    return {name: dropped.get(name, inputs[name]) for name in conditioner.keys}
