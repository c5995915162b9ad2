"""VGG16 (Simonyan and Zisserman 2015, configuration D) up to its last convolution."""

import flax.linen as nn

from ldm_jax.losses.networks.pooling import blur_pool, max_pool
from ldm_jax.nn.conv import Conv3x3

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions


class VGG16(nn.Module):
    """Five stages of 3x3 convolutions.

    shift_tolerant: blurs before it drops every second value (Ghildyal and Liu 2022).
    """

    shift_tolerant: bool = False

    @nn.compact
    def __call__(self, x):
        """x [B, H, W, 3] -> the output of each stage, [B, H / 2^n, W / 2^n, channels]."""
        features = []
        for stage, (channels, depth) in enumerate(STAGES, start=1):
            if stage > 1:
                x = blur_pool(max_pool(x, 2, 1)) if self.shift_tolerant else max_pool(x, 2, 2)
            for n in range(1, depth + 1):
                x = nn.relu(Conv3x3(channels, dtype=x.dtype, name=f"conv{stage}_{n}")(x))
            features.append(x)
        return features
