"""SqueezeNet 1.1 (Iandola et al. 2016, and the authors' later release) up to its last module."""

import flax.linen as nn
import jax.numpy as jnp

from ldm_jax.losses.networks.pooling import max_pool

FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
POOLED = (2, 4, 6)  # the modules before which the resolution is halved
COMPARED = (3, 5, 6, 7, 8, 9)  # whose outputs images are compared by, after conv1's


class Fire(nn.Module):
    """A narrow 1x1 convolution, then a 1x1 and a 3x3 one in parallel."""

    narrow: int
    wide: int

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> [B, h, w, 2 wide]."""
        x = nn.relu(nn.Conv(self.narrow, (1, 1), name="squeeze")(x))
        ones = nn.Conv(self.wide, (1, 1), name="expand1x1")(x)
        threes = nn.Conv(self.wide, (3, 3), padding=1, name="expand3x3")(x)
        return nn.relu(jnp.concatenate([ones, threes], axis=-1))


class SqueezeNet(nn.Module):
    """A convolution and eight fire modules, numbered from 2 as in the paper."""

    @nn.compact
    def __call__(self, x):
        """x [B, H, W, 3] -> seven of its layers, [B, h, w, channels]."""
        x = nn.relu(nn.Conv(64, (3, 3), 2, padding=0, name="conv1")(x))
        features = [x]
        for n, (narrow, wide) in enumerate(FIRES, start=2):
            if n in POOLED:
                x = max_pool(x, 3, 2, partial=True)
            x = Fire(narrow, wide, name=f"fire{n}")(x)
            if n in COMPARED:
                features.append(x)
        return features
