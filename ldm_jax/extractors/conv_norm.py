"""A convolution followed by batch norm, in inference."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.types import Array


class ConvNorm(nn.Module):
    """Convolution without a bias, normalised by the training's statistics (Ioffe, Szegedy 2015).

    The norm is folded into the kernel when it is called: y = x * (w s) + (b - m s) with s = g /
    sqrt(v + epsilon), which costs nothing next to the convolution.

    groups:     of the convolution; as many as channels is depthwise
    activation: of the output
    """

    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: int | None = None  # on every side; None: half the kernel, which keeps the size
    epsilon: float = 1e-3
    groups: int = 1
    activation: Callable[[Array], Array] | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x [B, h, w, C] -> [B, h', w', channels]."""
        ones, zeros, C = nn.initializers.ones, nn.initializers.zeros, self.channels
        shape = (*self.kernel, x.shape[-1] // self.groups, C)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        scale, bias = self.param("scale", ones, (C,)), self.param("bias", zeros, (C,))
        mean, var = self.param("mean", zeros, (C,)), self.param("var", ones, (C,))
        factor = scale / jnp.sqrt(var + self.epsilon)
        sides = [n // 2 if self.padding is None else self.padding for n in self.kernel]
        rows, columns = (
            (n + 2 * p - k) // self.stride + 1
            for n, p, k in zip(x.shape[1:3], sides, self.kernel, strict=True)
        )
        y = _convolve(x, kernel * factor, self.stride, sides, self.groups)
        y = y + (bias - mean * factor)
        y = self.activation(y) if self.activation else y
        return y[:, :rows, :columns]  # last, so that all before it is one loop


def _convolve(x: Array, kernel: Array, stride: int, padding: list[int], groups: int) -> Array:
    """x [B, h, w, C] by kernel [kh, kw, C / groups, channels]; may end with one line too many."""
    (B, h, w, C), (kh, kw, _, channels) = x.shape, kernel.shape
    if (kh, kw, stride, groups) == (1, 1, 1, 1):
        return (x.reshape(-1, C) @ kernel[0, 0]).reshape(B, h, w, channels)
    if groups == C == channels:
        # of one channel each: sums of shifted images, on CPUs three to twelve times as fast
        x = jnp.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0)])
        down, across = h + 2 * padding[0] - kh + 1, w + 2 * padding[1] - kw + 1
        return sum(
            x[:, i : i + down : stride, j : j + across : stride] * kernel[i, j, 0]
            for i in range(kh)
            for j in range(kw)
        )
    # XLA's convolution on CPUs takes three times as long without padding: one line too many
    more = 0 if any(padding) else 1
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(p, p + more) for p in padding],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
