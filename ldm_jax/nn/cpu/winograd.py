"""Convolutions of 3 x 3 taps by Winograd's minimal filtering, F(2 x 2, 3 x 3).

    y = A^T [(G g G^T) * (B^T d B)] A   (Lavin and Gray 2016, eq. 8)

A tile d of 4 x 4 positions gives y of 2 x 2 with 16 multiplications instead of 36; over channels
each of the 16 is a product of matrices. The price is memory: a quarter of the positions for each of
the 16, for both x and y. In float32 it differs from the direct sum by about 1e-6 of the largest
value, at all sizes that were tried.
"""

from collections.abc import Callable

import jax.numpy as jnp

from ldm_jax.types import Array

Padding = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)
Grid = list[list[Array]]  # of a tile or a kernel, by row and column


def fits(x: Array, kernel: Array) -> bool:
    """Whether x [B, h, w, C] can be cut into tiles, and the kernel [m, n, C, D] has 3 x 3 taps."""
    return kernel.shape[:2] == (3, 3) and x.shape[1] % 2 == 0 and x.shape[2] % 2 == 0


def turned_padding(padding: Padding) -> Padding:
    """The padding of the convolution from the gradient by y to the gradient by x."""
    (top, bottom), (left, right) = padding
    return (bottom, top), (right, left)


def convolved(x: Array, kernel: Array, padding: Padding) -> Array:
    """The convolution of x [B, h, w, C], h and w even, with kernel [3, 3, C, D].

    The padding is of two rows and two columns in all. Returns [B, h, w, D].
    """
    V, U = _input_tiles(x, padding), _both(_of_kernel, _grid(kernel))
    return _joined(_products("nc,cd->nd", V, U), x.shape)


def gradient_by_x(g: Array, kernel: Array, padding: Padding) -> Array:
    """The gradient by x, [B, h, w, C], from that by y, g [B, h, w, D].

    It is the convolution with the kernel rotated by half a turn. Its transform is the kernel's with
    the first and last of each four exchanged, so the kernel itself is not rotated.
    """
    V, U = _input_tiles(g, turned_padding(padding)), _both(_of_kernel, _grid(kernel))
    turned = [[U[a][b] for b in (3, 1, 2, 0)] for a in (3, 1, 2, 0)]
    return _joined(_products("nd,cd->nc", V, turned), g.shape)


def gradient_by_kernel(x: Array, g: Array, padding: Padding) -> Array:
    """The gradient by the kernel, [3, 3, C, D], of x [B, h, w, C] and that by y [B, h, w, D]."""
    places = [[g[:, p::2, q::2] for q in range(2)] for p in range(2)]
    M = [[_rows(m) for m in row] for row in _both(_from_output, places)]
    U = _products("nc,nd->cd", _input_tiles(x, padding), M)
    return jnp.stack([jnp.stack(row) for row in _both(_to_kernel, U)])


def _both(transform: Callable[[list], list], grid: Grid) -> Grid:
    """T x T^T: along columns, and then along rows."""
    wide = [transform(row) for row in grid]
    columns = [transform([row[b] for row in wide]) for b in range(len(wide[0]))]
    return [[column[a] for column in columns] for a in range(len(columns[0]))]


def _grid(kernel: Array) -> Grid:
    return [[kernel[a, b] for b in range(3)] for a in range(3)]


def _products(formula: str, x: Grid, y: Grid) -> Grid:
    return [[jnp.einsum(formula, x[a][b], y[a][b]) for b in range(4)] for a in range(4)]


def _rows(x: Array) -> Array:
    """[B, h, w, C] -> [B h w, C]: with one axis, products are two to three times as fast."""
    return x.reshape(-1, x.shape[-1])


def _input_tiles(x: Array, padding: Padding) -> Grid:
    """B^T d B, each [B h w / 4, C]."""
    h, w = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    d = [[x[:, a : a + h - 1 : 2, b : b + w - 1 : 2] for b in range(4)] for a in range(4)]
    return [[_rows(v) for v in row] for row in _both(_of_input, d)]


def _joined(M: Grid, shape: tuple[int, ...]) -> Array:
    """A^T M A, where each is [B h w / 4, D] of a shape [B, h, w, ...] -> [B, h, w, D]."""
    B, h, w, _ = shape
    tiles = [[m.reshape(B, h // 2, w // 2, -1) for m in row] for row in M]
    rows = [jnp.stack(row, axis=3) for row in _both(_to_output, tiles)]
    return jnp.stack(rows, axis=2).reshape(B, h, w, -1)


def _of_input(d: list) -> list:
    """B^T d."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _of_kernel(g: list) -> list:
    """G g."""
    even, odd = g[0] + g[2], g[1]
    return [g[0], (even + odd) / 2, (even - odd) / 2, g[2]]


def _to_kernel(u: list) -> list:
    """G^T u."""
    half = (u[1] + u[2]) / 2
    return [u[0] + half, (u[1] - u[2]) / 2, half + u[3]]


def _to_output(m: list) -> list:
    """A^T m."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _from_output(y: list) -> list:
    """A y."""
    return [y[0], y[0] + y[1], y[0] - y[1], -y[1]]
