"""Residual blocks and changes of resolution, shared by the autoencoder and the UNet."""

import flax.linen as nn
import jax

from ldm_jax.nn.norm import group_norm


def conv3x3(channels: int, name: str, zero_init: bool = False, dtype: str = "float32") -> nn.Conv:
    """A 3x3 convolution that keeps the size and computes in `dtype`; its weights are float32."""
    init = nn.initializers.zeros if zero_init else nn.linear.default_kernel_init
    return nn.Conv(channels, (3, 3), padding=1, kernel_init=init, dtype=dtype, name=name)


class ResBlock(nn.Module):
    """norm, SiLU, convolution, twice; the step's embedding, where given, is added in between."""

    channels: int
    groups: int
    epsilon: float
    zero_init: bool = False  # starts as the identity
    dtype: str = "float32"  # of all but the norms

    @nn.compact
    def __call__(self, x, embedding=None):
        """x [B, h, w, C], embedding [B, E] or None -> [B, h, w, channels]."""
        y = nn.silu(group_norm(x, self.groups, self.epsilon, "norm1"))
        y = conv3x3(self.channels, "conv1", dtype=self.dtype)(y)
        if embedding is not None:
            y += nn.Dense(self.channels, dtype=self.dtype, name="embedding")(nn.silu(embedding))[
                :, None, None
            ]
        y = nn.silu(group_norm(y, self.groups, self.epsilon, "norm2"))
        y = conv3x3(self.channels, "conv2", self.zero_init, self.dtype)(y)
        if x.shape[-1] != self.channels:
            x = nn.Dense(self.channels, dtype=self.dtype, name="skip")(x)
        return x + y


class Downsample(nn.Module):
    """Halves the resolution with a strided convolution.

    padding: ((1, 1), (1, 1)) in the UNet, ((0, 1), (0, 1)) in the autoencoder, as the originals.
    """

    padding: tuple[tuple[int, int], tuple[int, int]]
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> [B, h / 2, w / 2, C]."""
        conv = nn.Conv(x.shape[-1], (3, 3), 2, padding=self.padding, dtype=self.dtype, name="conv")
        return conv(x)


class Upsample(nn.Module):
    """Doubles the resolution by nearest neighbours and a convolution."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> [B, 2 h, 2 w, C]."""
        B, h, w, C = x.shape
        return conv3x3(C, "conv", dtype=self.dtype)(
            jax.image.resize(x, (B, 2 * h, 2 * w, C), "nearest")
        )
