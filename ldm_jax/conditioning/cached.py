"""Cached encodings of captions by a frozen conditioner, used instead of the captions."""

import jax.numpy as jnp
import numpy as np

from ldm_jax.data.latents import entry
from ldm_jax.types import Array, Cond, Conditioner

SLOTS = ("tokens", "vector", "mask")  # of a Cond, that can be kept


def encodings(cond: Cond) -> dict[str, Array]:
    """Encodings of captions by a conditioner, by slot."""
    return {slot: getattr(cond, slot) for slot in SLOTS if getattr(cond, slot) is not None}


def remembered(conditioner: Conditioner, empty: dict[str, np.ndarray]) -> Conditioner:
    """The conditioner for training on its cached encodings; its params are not used.

    Args:
        empty: by slot, its encoding of the empty caption, [n, d], [d] or [n], which is the null.
    """

    def apply(params, inputs):
        fields = {slot: inputs[entry(slot)] for slot in empty}
        return Cond(**fields | ({"mask": fields["mask"] > 0.5} if "mask" in fields else {}))

    def null(n, h=1, w=1):
        each = {entry(slot): jnp.asarray(x, jnp.float32) for slot, x in empty.items()}
        return {name: jnp.tile(x, (n, *[1] * x.ndim)) for name, x in each.items()}

    return conditioner._replace(apply=apply, null=null, keys=tuple(map(entry, empty)))
