"""The common interface of all feature extractors."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ldm_jax.types import Array, Params


class Extractor(NamedTuple):
    """A trained network that maps images to the features of metrics.

    name:     of the option
    title:    in reports
    distance: name of the Frechet distance of its features
    init:     key -> params of the right shape, untrained
    prepare:  uint8 [B, H, W, 3] -> the input of `scale`, on the host
    scale:    the output of `prepare` -> the network's input, [B, size, size, 3]
    network:  (params, scaled) -> features by name, each [B, d]
    resize:   how `prepare` and `scale` bring images to `size`, in words, for reports
    size:     side of the network's input in pixels
    main:     the features that distances are computed from
    """

    name: str
    title: str
    distance: str
    init: Callable[[Array], Params]
    prepare: Callable[[np.ndarray], np.ndarray]
    scale: Callable[[Array], Array]
    network: Callable[[Params, Array], Mapping[str, Array]]
    resize: str
    size: int
    main: str = "pool"

    def features(self, params: Params, prepared: Array) -> Mapping[str, Array]:
        """Features by name, each [B, d], of the output of `prepare`; to be jitted."""
        return self.network(params, self.scale(prepared))
