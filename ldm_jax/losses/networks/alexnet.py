"""AlexNet on one device (Krizhevsky 2014) up to its last convolution."""

import flax.linen as nn

from ldm_jax.losses.networks.pooling import blur_pool, max_pool

LATER = ((192, 5), (384, 3), (256, 3), (256, 3))  # channels and window of conv2 ... conv5


class AlexNet(nn.Module):
    """Five convolutions.

    shift_tolerant: convolutions have no strides, and every second value is dropped after a blur
        (Ghildyal and Liu 2022). Features have twice the resolution.
    """

    shift_tolerant: bool = False

    @nn.compact
    def __call__(self, x):
        """x [B, H, W, 3] -> the output of each convolution, [B, h, w, channels]."""
        stride = 1 if self.shift_tolerant else 4
        x = nn.Conv(64, (11, 11), stride, padding=2, name="conv1")(x)
        features = [nn.relu(blur_pool(x) if self.shift_tolerant else x)]
        for n, (channels, window) in enumerate(LATER, start=2):
            x = features[-1]
            if n < 4:
                x = blur_pool(max_pool(x, 3, 1)) if self.shift_tolerant else max_pool(x, 3, 2)
            x = nn.Conv(channels, (window, window), padding=window // 2, name=f"conv{n}")(x)
            features.append(nn.relu(x))
        return features
