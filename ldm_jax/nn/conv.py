"""Convolutions that keep or halve the size, in the form that is fastest on the device.

    y[i, j] = sum over taps (a, b) of x[s i + a - top, s j + b - left] K[a, b]

An accelerator uses XLA's convolution. On a CPU in float32 that is right for few channels. For many
channels, and for the gradient of a kernel over a large image, products of matrices are up to five
times faster, and Winograd's algorithm has the fewest products. (Figures are in
docs/benchmarks.md.) The form is chosen by the image's size and the channels, never by the batch, so
that the batch changes only the last bits of an image.
"""

import functools
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.nn.cpu import winograd
from ldm_jax.nn.cpu.winograd import Padding, turned_padding
from ldm_jax.types import Array

SOME_CHANNELS, SOME_WEIGHTS = 64, 2**12  # weights of a tap: 64 channels to 64
SEVERAL_WEIGHTS, MANY_WEIGHTS = 2**15, 2**16  # 256 channels to 128 and to 256
VERY_MANY_WEIGHTS = 2**18
FEW_PLACES, VERY_FEW_PLACES, SOME_PLACES = 16 * 16, 8 * 8, 32 * 32
MANY_PLACES, TOO_MANY_PLACES = 64 * 64, 128 * 128  # above: too much memory for Winograd's algorithm
BLOCK = 1024  # positions whose patches a cache can hold
FEW_OF_A_ROW = 2**19  # positions times weights, below which YNNPACK takes a single thread


def conv(x: Array, kernel: Array, padding: Padding = ((1, 1), (1, 1)), stride: int = 1) -> Array:
    """A convolution of stride s.

    Args:
        x:       [B, h, w, C].
        kernel:  [m, n, C, D].
        padding: of zeros; with stride 1, m - 1 rows and n - 1 columns of them in all.

    Returns:
        [B, h / s, w / s, D].
    """
    if jax.default_backend() != "cpu" or x.dtype != jnp.float32:
        return by_xla(x, kernel, padding, stride)
    if stride == 1:
        return _conv(x, kernel, padding)
    few = x.shape[1] * x.shape[2] <= FEW_PLACES * stride**2
    form = by_patches if few and kernel[0, 0].size >= MANY_WEIGHTS else by_xla
    return form(x, kernel, padding, stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x, kernel, padding):
    places, weights = x.shape[1] * x.shape[2], kernel[0, 0].size
    if _helps_winograd(x, kernel):
        return _when_reached(winograd.convolved, by_eigen, x, kernel, padding)
    if weights < MANY_WEIGHTS:
        enough = places >= SOME_PLACES and weights >= SOME_WEIGHTS and _on_one_thread(x, kernel)
        return (by_eigen if enough else by_xla)(x, kernel, padding)
    if places <= VERY_FEW_PLACES:
        return by_patches(x, kernel, padding)
    return by_eigen(x, kernel, padding)


def _forward(x, kernel, padding):
    return _in_training(x, kernel, padding), (x, kernel)


def _in_training(x, kernel, padding):
    """The convolution in a training step, where Eigen's is right for smaller ones."""
    few = kernel[0, 0].size < MANY_WEIGHTS and _on_one_thread(x, kernel)
    return (by_eigen if few and not _helps_winograd(x, kernel) else _conv)(x, kernel, padding)


def _backward(padding, kept, g):
    x, kernel = kept
    places, weights = x.shape[1] * x.shape[2], kernel[0, 0].size
    if _helps_winograd(x, kernel):
        dx = _when_reached(winograd.gradient_by_x, spread_by_taps, g, kernel, padding)
        return dx, winograd.gradient_by_kernel(x, g, padding)
    few, many = places <= FEW_PLACES, weights >= MANY_WEIGHTS
    if few and many:
        dx = spread_by_taps(g, kernel, padding)
    else:
        dx = _in_training(g, turned(kernel), turned_padding(padding))
    if few and weights >= VERY_MANY_WEIGHTS:
        dk = kernel_by_patches(x, g, kernel.shape, padding)
    elif not many and _helps_shifting(x, kernel):
        dk = kernel_by_shifts(x, g, kernel.shape, padding)
    elif many or places >= MANY_PLACES:
        dk = kernel_by_blocks(x, g, kernel.shape, padding)
    else:
        (dk,) = jax.linear_transpose(lambda k: by_xla(x, k, padding), kernel)(g)
    return dx, dk


_conv.defvjp(_forward, _backward)


def _on_one_thread(x, kernel):
    """Whether YNNPACK would take one thread."""
    return x.shape[2] * kernel[0, 0].size < FEW_OF_A_ROW


def _helps_shifting(x, kernel):
    """Whether one product for the whole image is faster than blocks of rows, and than XLA's."""
    places = x.shape[1] * x.shape[2]
    return SOME_PLACES <= places <= MANY_PLACES and min(kernel.shape[2:]) >= SOME_CHANNELS


def _helps_winograd(x, kernel):
    """Whether its products are the fastest, by enough to be worth their compilation: for a small
    image only where the kernel, which has to be transformed, is small as well."""
    places, weights = x.shape[1] * x.shape[2], kernel[0, 0].size
    if weights < MANY_WEIGHTS:
        enough = FEW_PLACES <= places <= SOME_PLACES and weights >= SEVERAL_WEIGHTS
    else:
        enough = FEW_PLACES < places <= TOO_MANY_PLACES
    return enough and winograd.fits(x, kernel)


def _when_reached(form, same, x, kernel, padding):
    """form(x, kernel, padding), computed in a branch of a condition that always holds.

    XLA's CPU backend would otherwise transform the kernels of all layers before it computes the
    first (0.4 GiB more for Stable Diffusion 1). A branch is computed when it is reached. `same` is
    the other branch.
    """
    w = kernel[0, 0, 0, 0]
    of = (functools.partial(f, padding=padding) for f in (form, same))
    return jax.lax.cond(w == w, *of, x, kernel)


def by_xla(x: Array, kernel: Array, padding: Padding, stride: int = 1) -> Array:
    """XLA's convolution."""
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def by_eigen(x: Array, kernel: Array, padding: Padding) -> Array:
    """With a column more than x has, which is then cut off: XLA's CPU backend leaves such
    convolutions to Eigen, not to YNNPACK, which takes 1.5 times as long for some channel counts."""
    rows, (left, right) = padding
    return by_xla(x, kernel, (rows, (left, right + 1)))[:, :, : x.shape[2]]


def by_patches(x: Array, kernel: Array, padding: Padding, stride: int = 1) -> Array:
    """As one product of matrices."""
    return _patches(x, kernel.shape, padding, stride) @ kernel.reshape(-1, kernel.shape[-1])


def turned(kernel: Array) -> Array:
    """The kernel [m, n, D, C] of the convolution from the gradient by y to the gradient by x."""
    return jnp.flip(kernel, (0, 1)).swapaxes(2, 3)


def spread_by_taps(g: Array, kernel: Array, padding: Padding) -> Array:
    """The gradient by x: each tap's product is added at the positions that the tap had read.

    It needs no transposed kernel.
    """
    (top, _), (left, _) = padding
    m, n, C, _ = kernel.shape
    B, h, w, D = g.shape
    rows, padded = g.reshape(-1, D), jnp.zeros((B, h + m - 1, w + n - 1, C), g.dtype)
    for a, b in itertools.product(range(m), range(n)):
        padded = padded.at[:, a : a + h, b : b + w].add(
            jnp.einsum("nd,cd->nc", rows, kernel[a, b]).reshape(B, h, w, C)
        )
    return padded[:, top : top + h, left : left + w]


def kernel_by_patches(x: Array, g: Array, shape: tuple[int, ...], padding: Padding) -> Array:
    """The gradient by the kernel [m, n, C, D] as one product of matrices."""
    seen = _patches(x, shape, padding).reshape(-1, math.prod(shape[:3]))
    return (seen.T @ g.reshape(-1, shape[-1])).reshape(shape)


def kernel_by_shifts(x: Array, g: Array, shape: tuple[int, ...], padding: Padding) -> Array:
    """The same over whole images: one factor has all shifts along columns of the narrower of g and
    x, the other factor is shifted along rows."""
    m, n, C, D = shape
    if C < D:
        swapped = kernel_by_shifts(g, x, (m, n, D, C), turned_padding(padding))
        return turned(swapped)
    h, w = g.shape[1:3]
    rows, (left, right) = padding
    x = jnp.pad(x, ((0, 0), rows, (0, 0), (0, 0)))
    g = jnp.pad(g, ((0, 0), (0, 0), (right, left), (0, 0)))
    gs = jnp.concatenate([g[:, :, b : b + w] for b in reversed(range(n))], -1).reshape(-1, n * D)
    taps = [x[:, a : a + h].reshape(-1, C).T @ gs for a in range(m)]
    return jnp.stack(taps).reshape(m, C, n, D).swapaxes(1, 2)


def kernel_by_blocks(x: Array, g: Array, shape: tuple[int, ...], padding: Padding) -> Array:
    """The same over rows of the image, in blocks that stay in a cache.

    K[a, b] = sum over i, j of x[i, j + b - left] g[i + top - a, j]: x is shifted along columns and
    g along rows, so that all taps are one product of m + n shifts instead of m n.
    """
    m, n, C, D = shape
    B, h, w, _ = g.shape
    r = math.gcd(h, max(1, BLOCK // (B * w)))  # rows of a block
    (top, bottom), columns = padding
    x = jnp.pad(x, ((0, 0), (0, 0), columns, (0, 0)))
    g = jnp.pad(g, ((0, 0), (bottom, top), (0, 0), (0, 0)))

    def block(total, i):
        x_rows = jax.lax.dynamic_slice_in_dim(x, i * r, r, axis=1)
        g_rows = jax.lax.dynamic_slice_in_dim(g, i * r, r + m - 1, axis=1)
        xs = jnp.concatenate([x_rows[:, :, b : b + w] for b in range(n)], -1)
        gs = jnp.concatenate([g_rows[:, a : a + r] for a in reversed(range(m))], -1)
        return total + xs.reshape(-1, n * C).T @ gs.reshape(-1, m * D), None

    start = jnp.zeros((n * C, m * D), g.dtype)
    total, _ = jax.lax.scan(block, start, jnp.arange(h // r))
    return total.reshape(n, C, m, D).transpose(2, 0, 1, 3)


def _patches(x: Array, shape: tuple[int, ...], padding: Padding, stride: int = 1) -> Array:
    """The patch of each output position, [B, h / s, w / s, m n C]."""
    m, n, _, _ = shape
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    h, w = x.shape[1] - m + 1, x.shape[2] - n + 1
    taps = itertools.product(range(m), range(n))
    return jnp.concatenate([x[:, a : a + h : stride, b : b + w : stride] for a, b in taps], -1)


class Conv3x3(nn.Module):
    """A 3 x 3 convolution that computes in `dtype`; its weights are float32.

    Its parameters are those of flax's `Conv`.
    """

    features: int
    zero_init: bool = False
    use_bias: bool = True
    dtype: str = "float32"
    padding: Padding = ((1, 1), (1, 1))
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        """x [B, h, w, C] -> [B, h / stride, w / stride, features]."""
        init = nn.initializers.zeros if self.zero_init else nn.linear.default_kernel_init
        kernel = self.param("kernel", init, (3, 3, x.shape[-1], self.features))
        y = self.convolve(x.astype(self.dtype), kernel)
        if self.use_bias:
            y += self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return y

    def convolve(self, x: Array, kernel: Array) -> Array:
        """x in `dtype`, kernel in float32."""
        return conv(x, kernel.astype(x.dtype), self.padding, self.stride)
