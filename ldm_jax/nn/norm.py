"""Group normalisation as all networks use it."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class GroupNorm(nn.Module):
    """Group normalisation (Wu and He 2018): a scale and a shift for each channel of each example.

    The variance is E[x^2] - E[x]^2, so that x is read once for both sums, and once to be
    normalised.
    """

    groups: int
    epsilon: float

    @nn.compact
    def __call__(self, x):
        """x [B, ..., C] -> [B, ..., C], float32."""
        x = x.astype(jnp.float32)
        B, C = x.shape[0], x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (C,))
        bias = self.param("bias", nn.initializers.zeros, (C,))
        places = tuple(range(1, x.ndim - 1))

        def mean(y):  # [B, ..., C] -> [B, groups, 1]
            channels = jnp.mean(y, places).reshape(B, self.groups, -1)
            return jnp.mean(channels, -1, keepdims=True)

        mu = mean(x)
        variance = jnp.maximum(mean(jnp.square(x)) - jnp.square(mu), 0.0)
        # (x - mu) / std * scale + bias = a x + b
        a = jax.lax.rsqrt(variance + self.epsilon) * scale.reshape(self.groups, -1)
        b = bias.reshape(self.groups, -1) - mu * a
        a, b = (jnp.expand_dims(y.reshape(B, C), places) for y in (a, b))
        return a * x + b


def group_norm(x, groups: int, epsilon: float, name: str):
    """Normalises x [B, ..., C] in float32, by a layer `name` of its own.

    With one channel a group, the channel's mean is lost: keep `groups` at C / 2 or less.
    """
    return GroupNorm(groups, epsilon, name=name)(x)
