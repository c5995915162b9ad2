"""Hiding conditions in training, so that one network learns both with and without."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from ldm_jax.types import Array, Batch, Conditioner

Apart = Mapping[tuple[str, ...], float]
TOGETHER: Apart = {}


def drop(
    conditioner: Conditioner,
    inputs: Batch,
    keys: Array,
    rate: float,
    size: tuple[int, int] = (1, 1),
    apart: Apart = TOGETHER,
) -> Batch:
    """Replaces each example's condition by the null with probability `rate`.

    Ho and Salimans 2022, algorithm 1.

    Args:
        inputs: the entries that the conditioner reads, each [B, ...].
        keys: [B], one key an example.
        size: (h, w) of the latents.
        apart: entries -> how often they alone are dropped, of the examples whose condition is not;
            at most one of them of an example (Ye et al. 2023, section 4.1).
    """
    hidden = jax.vmap(lambda key: jax.random.bernoulli(key, rate))(keys)
    null = conditioner.null(len(hidden), *size)

    alone, below = dict.fromkeys(conditioner.droppable, hidden), 0.0
    u = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1)))(keys) if apart else 0.0
    for names, share in apart.items():
        chosen = (u >= below) & (u < below + share)
        alone, below = alone | {name: alone[name] | chosen for name in names}, below + share

    def choose(name):
        without = null[name]
        hide = alone[name].reshape(-1, *[1] * (without.ndim - 1))
        return jnp.where(hide, without, inputs[name])

    dropped = {name: choose(name) for name in conditioner.droppable}
    return {name: dropped.get(name, inputs[name]) for name in conditioner.keys}
