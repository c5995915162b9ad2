"""Residual blocks and changes of resolution, shared by the autoencoder and the UNet."""

import flax.linen as nn
import jax

from ldm_jax.nn.norm import group_norm


def conv3x3(channels: int, name: str, zero_init: bool = False) -> nn.Conv:
    """A 3x3 convolution that keeps the size."""
    init = nn.initializers.zeros if zero_init else nn.linear.default_kernel_init
    return nn.Conv(channels, (3, 3), padding=1, kernel_init=init, name=name)


class ResBlock(nn.Module):
    """norm, SiLU, convolution, twice; the step's embedding, where given, is added in between."""

    channels: int
    groups: int
    epsilon: float
    zero_init: bool = False  # starts as the identity

    @nn.compact
    def __call__(self, x, embedding=None):
        """x [B, h, w, C], embedding [B, E] or None -> [B, h, w, channels]."""
        y = conv3x3(self.channels, "conv1")(
            nn.silu(group_norm(x, self.groups, self.epsilon, "norm1"))
        )
        if embedding is not None:
            y += nn.Dense(self.channels, name="embedding")(nn.silu(embedding))[:, None, None]
        y = nn.silu(group_norm(y, self.groups, self.epsilon, "norm2"))
        y = conv3x3(self.channels, "conv2", self.zero_init)(y)
        if x.shape[-1] != self.channels:
            x = nn.Dense(self.channels, name="skip")(x)
        return x + y


class Downsample(nn.Module):
    """Halves the resolution with a strided convolution.

    padding: ((1, 1), (1, 1)) in the UNet, ((0, 1), (0, 1)) in the autoencoder, as the originals.
    """

    padding: tuple[tuple[int, int], tuple[int, int]]

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> [B, h / 2, w / 2, C]."""
        return nn.Conv(x.shape[-1], (3, 3), 2, padding=self.padding, name="conv")(x)


class Upsample(nn.Module):
    """Doubles the resolution by nearest neighbours and a convolution."""

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> [B, 2 h, 2 w, C]."""
        B, h, w, C = x.shape
        return conv3x3(C, "conv")(jax.image.resize(x, (B, 2 * h, 2 * w, C), "nearest"))
