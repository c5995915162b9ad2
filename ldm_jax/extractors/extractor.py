"""What all extractors of features have in common."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ldm_jax.types import Array, Params


class Extractor(NamedTuple):
    """A trained network, as metrics see it: images to features.

    name:     as it is asked for
    title:    as reports call it
    distance: what the Frechet distance of its features is called
    main:     the features that distances are of
    init:     key -> params of the right shape, untrained
    prepare:  uint8 [B, H, W, 3] -> what `scale` takes, on the host
    scale:    that -> what the network takes, [B, size, size, 3]
    network:  (params, scaled) -> features by name, each [B, d]
    resize:   how `prepare` and `scale` bring images to `size`, as a report says it
    size:     pixels a side that the network sees
    """

    name: str
    title: str
    distance: str
    main: str
    init: Callable[[Array], Params]
    prepare: Callable[[np.ndarray], np.ndarray]
    scale: Callable[[Array], Array]
    network: Callable[[Params, Array], Mapping[str, Array]]
    resize: str
    size: int

    def features(self, params: Params, prepared: Array) -> Mapping[str, Array]:
        """Features by name, each [B, d], of what `prepare` gave; to be jitted."""
        return self.network(params, self.scale(prepared))
