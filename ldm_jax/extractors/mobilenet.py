"""MobileNetV2 (Sandler et al. 2018), a small classifier of ImageNet's 1000 classes.

Its distances order models as FID does, on another scale: they are never called FID.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from ldm_jax.extractors.conv_norm import ConvNorm
from ldm_jax.types import Array

SIZE = 224  # pixels a side
CLASSES = 1000
STAGES = (  # table 2 of the paper: expansion, channels, blocks, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
LAST = 1280
EPSILON = 1e-5


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection: wide inside, narrow outside (table 1)."""

    expansion: int
    channels: int
    stride: int

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> [B, h / stride, w / stride, channels]."""
        width, y = x.shape[-1] * self.expansion, x
        act = partial(ConvNorm, epsilon=EPSILON, activation=nn.relu6)
        if self.expansion > 1:
            y = act(width, name="expand")(y)
        y = act(width, (3, 3), self.stride, groups=width, name="depthwise")(y)
        y = ConvNorm(self.channels, epsilon=EPSILON, name="project")(y)
        return x + y if y.shape == x.shape else y


class MobileNetV2(nn.Module):
    """The whole network, of width 1."""

    @nn.compact
    def __call__(self, x) -> dict[str, Array]:
        """x [B, 224, 224, 3], normalised -> pool [B, 1280] and logits [B, 1000]."""
        x = ConvNorm(32, (3, 3), 2, epsilon=EPSILON, activation=nn.relu6, name="stem")(x)
        blocks = [
            (expansion, channels, 1 if n else stride)
            for expansion, channels, depth, stride in STAGES
            for n in range(depth)
        ]
        for number, block in enumerate(blocks, start=1):
            x = InvertedResidual(*block, name=f"block{number}")(x)
        x = ConvNorm(LAST, epsilon=EPSILON, activation=nn.relu6, name="last")(x)
        pool = jnp.mean(x, axis=(1, 2))
        return {"pool": pool, "logits": nn.Dense(CLASSES, name="classifier")(pool)}
