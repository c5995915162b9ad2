"""Group normalisation as every network here uses it."""

import math

import flax.linen as nn
import jax.numpy as jnp


def group_norm(x, epsilon: float, name: str):
    """32 groups (fewer where the channels of x [B, ..., C] cannot be split so), in float32."""
    groups = math.gcd(32, x.shape[-1])
    return nn.GroupNorm(groups, epsilon=epsilon, dtype=jnp.float32, name=name)(x)
