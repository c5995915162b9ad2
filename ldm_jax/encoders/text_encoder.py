"""A text encoder: token numbers of captions to what a network is conditioned on."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ldm_jax.types import Array, Params


class Encoded(NamedTuple):
    """Captions, encoded.

    tokens: [B, n, d]
    pooled: [B, e] of a caption as a whole; None: the encoder has no such embedding
    mask:   [B, n] bool, which tokens count; None: all
    """

    tokens: Array
    pooled: Array | None = None
    mask: Array | None = None


class TextEncoder(NamedTuple):
    """One text encoder.

    init:  key -> params
    apply: (params, ids [B, n] int32) -> Encoded
    empty: [n] the numbers of the empty caption
    """

    init: Callable[[Array], Params]
    apply: Callable[[Params, Array], Encoded]
    empty: np.ndarray

    def null(self, n: int) -> Array:
        """n empty captions, [n, ...]."""
        return jnp.tile(jnp.asarray(self.empty, jnp.int32), (n, 1))
