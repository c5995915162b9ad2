"""What a perceptual distance is to those who use one."""

from collections.abc import Callable
from typing import NamedTuple

from ldm_jax.types import Array, Params


class Perceptual(NamedTuple):
    """init: key -> params;  distance: (params, x, y), images [B, H, W, 3] in [-1, 1] -> [B]."""

    init: Callable[[Array], Params]
    distance: Callable[[Params, Array, Array], Array]
