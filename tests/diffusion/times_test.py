"""Sampling grids and training times."""

import numpy as np
import pytest

from ldm_jax.diffusion import times
from ldm_jax.errors import InputError

T = 60
every_grid = pytest.mark.parametrize("name", times.GRIDS)


@every_grid
def test_a_grid_of_K_steps_has_K_steps_down_to_the_data(name):
    for K in range(1, T + 1):
        grid = times.grid(name, T, K)
        assert grid.shape == (K + 1,)
        assert grid.dtype == np.int32
        assert np.all(np.diff(grid) < 0)
        assert grid[0] <= T
        assert grid[-1] == (1 if name == "uniform" and K < T else 0)


@every_grid
def test_as_many_steps_as_the_process_has_visit_all_of_them(name):
    assert times.grid(name, T, T).tolist() == list(range(T, -1, -1))


def test_uniform_is_the_originals_grid():
    """ddim_timesteps = 1, 21, ..., 981, counted from 0; alphas_prev begins with that of step 0."""
    steps = times.grid("uniform", 1000, 50) - 1
    assert steps.tolist() == [*range(981, 0, -20), 0]


def test_leading_ends_at_the_first_step_and_trailing_starts_at_the_last():
    assert times.grid("leading", 1000, 10).tolist() == [*range(901, 0, -100), 0]
    assert times.grid("trailing", 1000, 10).tolist() == [*range(1000, 0, -100), 0]
    assert times.grid("trailing", 1000, 7).tolist() == [1000, 857, 714, 571, 429, 286, 143, 0]


@pytest.mark.parametrize("K", [-1, 0, T + 1])
def test_impossible_numbers_of_steps_are_refused(K):
    with pytest.raises(InputError, match=f"{K} sampling steps: expected 1 to {T}"):
        times.grid("uniform", T, K)


def test_an_unknown_grid_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"'karras' is unknown: .* uniform, leading, trailing"):
        times.grid("karras", T, 10)


@every_grid
def test_padding_keeps_the_grid_and_then_stays(name):
    grid = times.grid(name, T, 7)
    padded = times.pad(grid, T)
    assert padded.shape == (T + 1,)
    assert padded.dtype == grid.dtype
    assert padded[:8].tolist() == grid.tolist()
    assert set(padded[8:].tolist()) == {int(grid[-1])}
