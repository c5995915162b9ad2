"""InceptionV3 (Szegedy et al. 2016) as used by FID: the graph that TensorFlow published in 2015.

It differs from the paper's and torchvision's network in its pooling: averages at the border are
over existing pixels only, and the last block takes the maximum. Its weights are different, too.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.extractors.conv_norm import ConvNorm
from ldm_jax.types import Array

SIZE = 299  # pixels a side
CLASSES = 1008
SPATIAL = 7  # channels that sFID keeps


def _shifted(x: Array, axis: int, stride: int = 1) -> list[Array]:
    """The three shifts of a window of three; CPUs pool by them in an eighth of a window's time."""
    n = (x.shape[axis] - 3) // stride * stride + 1
    return [jax.lax.slice_in_dim(x, i, i + n, stride, axis) for i in range(3)]


def _border(x: Array, axis: int, value: float) -> Array:
    return jnp.pad(x, [(int(side == axis),) * 2 for side in range(4)], constant_values=value)


def _max_pool(x: Array) -> Array:
    """The largest of 3x3 pixels, every second."""
    for axis in (1, 2):
        x = functools.reduce(jnp.maximum, _shifted(x, axis, stride=2))
    return x


def _max_around(x: Array) -> Array:
    """The largest of each pixel's 3x3 neighbourhood."""
    for axis in (1, 2):
        x = functools.reduce(jnp.maximum, _shifted(_border(x, axis, -jnp.inf), axis))
    return x


def _mean_pool(x: Array) -> Array:
    """The mean of each pixel's 3x3 neighbourhood, without pixels outside the image."""
    for axis in (1, 2):
        x = sum(_shifted(_border(x, axis, 0), axis))
    down, across = (_neighbours(n) for n in x.shape[1:3])
    return x / (down[:, None] * across)[..., None]


def _neighbours(n: int) -> np.ndarray:
    """The number of positions that are at most one away from each of n."""
    i = np.arange(n)
    return (np.minimum(i + 1, n - 1) - np.maximum(i - 1, 0) + 1).astype(np.float32)


class _Block(nn.Module):
    """Parallel branches, each a chain of convolutions."""

    def conv(self, x: Array, name: str, channels: int, *kernel: int, stride: int = 0) -> Array:
        """A convolution, its norm and ReLU; padded unless it has a stride, which then may be 1."""
        made = ConvNorm(
            channels,
            kernel or (1, 1),
            stride or 1,
            0 if stride else None,
            activation=nn.relu,
            name=name,
        )
        return made(x)

    def chain(self, x: Array, name: str, *layers: tuple[int, ...], last_stride: int = 0) -> Array:
        """Layers NAME_1, NAME_2 ..., each (channels, kernel height, kernel width)."""
        for n, (channels, *kernel) in enumerate(layers, start=1):
            stride = last_stride if n == len(layers) else 0
            x = self.conv(x, f"{name}_{n}", channels, *kernel, stride=stride)
        return x


class MixedA(_Block):
    """35 x 35 positions (figure 5 of the paper)."""

    pooled: int  # channels of the pooling branch

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> [B, h, w, 224 + pooled]."""
        branches = [
            self.conv(x, "branch1x1", 64),
            self.chain(x, "branch5x5", (48, 1, 1), (64, 5, 5)),
            self.chain(x, "branch3x3dbl", (64, 1, 1), (96, 3, 3), (96, 3, 3)),
            self.conv(_mean_pool(x), "branch_pool", self.pooled),
        ]
        return jnp.concatenate(branches, axis=-1)


class MixedB(_Block):
    """From 35 x 35 positions to 17 x 17 (figure 10)."""

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> [B, (h - 1) / 2, (w - 1) / 2, 480 + C]."""
        branches = [
            self.conv(x, "branch3x3", 384, 3, 3, stride=2),
            self.chain(x, "branch3x3dbl", (64, 1, 1), (96, 3, 3), (96, 3, 3), last_stride=2),
            _max_pool(x),
        ]
        return jnp.concatenate(branches, axis=-1)


class MixedC(_Block):
    """17 x 17 positions, kernels of 7 x 7 in two steps (figure 6)."""

    inner: int  # channels inside the branches

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> the branches, [B, h, w, 192] each."""
        c = self.inner
        doubled = ((c, 1, 1), (c, 7, 1), (c, 1, 7), (c, 7, 1), (192, 1, 7))
        return [
            self.conv(x, "branch1x1", 192),
            self.chain(x, "branch7x7", (c, 1, 1), (c, 1, 7), (192, 7, 1)),
            self.chain(x, "branch7x7dbl", *doubled),
            self.conv(_mean_pool(x), "branch_pool", 192),
        ]


class MixedD(_Block):
    """From 17 x 17 positions to 8 x 8."""

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> [B, (h - 1) / 2, (w - 1) / 2, 512 + C]."""
        sevens = ((192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3))
        branches = [
            self.chain(x, "branch3x3", (192, 1, 1), (320, 3, 3), last_stride=2),
            self.chain(x, "branch7x7x3", *sevens, last_stride=2),
            _max_pool(x),
        ]
        return jnp.concatenate(branches, axis=-1)


class MixedE(_Block):
    """8 x 8 positions, branches that fork (figure 7)."""

    maximum: bool  # of the pooling branch, rather than the mean

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> [B, h, w, 2048]."""
        three = self.conv(x, "branch3x3_1", 384)
        doubled = self.chain(x, "branch3x3dbl", (448, 1, 1), (384, 3, 3))
        pooled = _max_around(x) if self.maximum else _mean_pool(x)
        branches = [
            self.conv(x, "branch1x1", 320),
            self.conv(three, "branch3x3_2a", 384, 1, 3),
            self.conv(three, "branch3x3_2b", 384, 3, 1),
            self.conv(doubled, "branch3x3dbl_3a", 384, 1, 3),
            self.conv(doubled, "branch3x3dbl_3b", 384, 3, 1),
            self.conv(pooled, "branch_pool", 192),
        ]
        return jnp.concatenate(branches, axis=-1)


class InceptionV3(_Block):
    """The whole network."""

    @nn.compact
    def __call__(self, x) -> dict[str, Array]:
        """x [B, 299, 299, 3] in [-1, 1] -> features, each [B, d].

        64, 192, 768: means over the positions after the two poolings and `Mixed_6e`
        spatial: [B, 2023], seven channels of the first branch of `Mixed_6d` at 17 x 17 positions
        pool: [B, 2048], the features of FID
        logits, logits_unbiased: [B, 1008], with and without the last bias
        """
        found = {}

        def positions(x: Array) -> Array:
            return jnp.mean(x, axis=(1, 2))

        x = self.conv(x, "Conv2d_1a_3x3", 32, 3, 3, stride=2)
        x = self.conv(x, "Conv2d_2a_3x3", 32, 3, 3, stride=1)
        x = _max_pool(self.conv(x, "Conv2d_2b_3x3", 64, 3, 3))
        found["64"] = positions(x)
        x = self.conv(x, "Conv2d_3b_1x1", 80)
        x = _max_pool(self.conv(x, "Conv2d_4a_3x3", 192, 3, 3, stride=1))
        found["192"] = positions(x)
        for letter, pooled in (("b", 32), ("c", 64), ("d", 64)):
            x = MixedA(pooled, name=f"Mixed_5{letter}")(x)
        x = MixedB(name="Mixed_6a")(x)
        for letter, inner in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
            branches = MixedC(inner, name=f"Mixed_6{letter}")(x)
            if letter == "d":
                found["spatial"] = branches[0][..., :SPATIAL].reshape(len(x), -1)
            x = jnp.concatenate(branches, axis=-1)
        found["768"] = positions(x)
        x = MixedD(name="Mixed_7a")(x)
        x = MixedE(maximum=False, name="Mixed_7b")(x)
        x = MixedE(maximum=True, name="Mixed_7c")(x)
        found["pool"] = positions(x)
        found["logits_unbiased"] = nn.Dense(CLASSES, use_bias=False, name="fc")(found["pool"])
        bias = self.param("fc_bias", nn.initializers.zeros, (CLASSES,))
        found["logits"] = found["logits_unbiased"] + bias
        return found
