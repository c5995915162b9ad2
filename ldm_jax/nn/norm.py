"""Group normalisation as every network here uses it."""

import flax.linen as nn
import jax.numpy as jnp


def group_norm(x, groups: int, epsilon: float, name: str):
    """Group normalisation (Wu and He 2018) of x [B, ..., C], in float32.

    A group of one channel forgets the channel's level: keep `groups` at C / 2 or less.
    """
    return nn.GroupNorm(groups, epsilon=epsilon, dtype=jnp.float32, name=name)(x)
