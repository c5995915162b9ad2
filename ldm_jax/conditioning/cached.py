"""Captions as a frozen conditioner answered to them once, in place of the captions."""

import jax.numpy as jnp
import numpy as np

from ldm_jax.data.latents import entry
from ldm_jax.types import Array, Cond, Conditioner

SLOTS = ("tokens", "vector", "mask")  # of a Cond, that can be kept


def answers(cond: Cond) -> dict[str, Array]:
    """What a conditioner answers of captions, by slot."""
    found = {slot: getattr(cond, slot) for slot in SLOTS}
    return {slot: x for slot, x in found.items() if x is not None}


def can_be_remembered(conditioner: Conditioner) -> bool:
    """Whether it reads captions alone, and training does not change what it answers."""
    return conditioner.keys == ("tokens",) and not conditioner.trained


def remembered(conditioner: Conditioner, empty: dict[str, np.ndarray]) -> Conditioner:
    """The conditioner for training on answers that it gave before; its params are not read.

    Args:
        empty: by slot, its answer to the empty caption, [n, d], [d] or [n], which is the null.
    """

    def apply(params, inputs):
        told = {slot: inputs[entry(slot)] for slot in empty}
        return Cond(**told | ({"mask": told["mask"] > 0.5} if "mask" in told else {}))

    def null(n, h=1, w=1):
        def each(x):
            return jnp.tile(jnp.asarray(x, jnp.float32), (n, *[1] * x.ndim))

        return {entry(slot): each(x) for slot, x in empty.items()}

    return conditioner._replace(apply=apply, null=null, keys=tuple(map(entry, empty)))
