"""Step variances, at the numbers of their papers."""

import numpy as np

from ldm_jax.diffusion.processes import betas

T = 1000


def alpha_bar(table):
    return np.cumprod(1.0 - table)


def test_linear_betas_end_where_the_papers_do():
    table = betas.linear(T)
    np.testing.assert_allclose(table[[0, -1]], [1e-4, 0.02])
    np.testing.assert_allclose(np.diff(table), (0.02 - 1e-4) / (T - 1))
    np.testing.assert_allclose(alpha_bar(table)[-1], 4.0358e-5, rtol=1e-4)


def test_scaled_linear_betas_are_linear_under_the_root():
    table = betas.scaled_linear(T, 0.00085, 0.012)
    np.testing.assert_allclose(table[[0, -1]], [0.00085, 0.012])
    np.testing.assert_allclose(np.diff(np.sqrt(table), 2), 0.0, atol=1e-15)
    np.testing.assert_allclose(alpha_bar(table)[-1], 0.0046602, rtol=1e-4)


def test_sqrt_betas_are_linear_when_squared():
    table = betas.sqrt(T, 1e-4, 0.02)
    np.testing.assert_allclose(table[[0, -1]], [0.01, 0.02**0.5])
    np.testing.assert_allclose(np.diff(table**2), (0.02 - 1e-4) / (T - 1))


def test_cosine_alpha_bar_is_equation_17():
    """f(t) / f(0) with f(t) = cos^2((t / T + s) / (1 + s) pi / 2); the last is clipped."""

    def f(t):
        return np.cos((t / T + 0.008) / 1.008 * np.pi / 2) ** 2

    table = betas.cosine(T)
    t = np.arange(1, T)
    np.testing.assert_allclose(alpha_bar(table)[:-1], f(t) / f(0), rtol=1e-6)
    np.testing.assert_allclose(alpha_bar(table)[T // 2 - 1], 0.493844, rtol=1e-5)
    assert table.max() == 0.999
