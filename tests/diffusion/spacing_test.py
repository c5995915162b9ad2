"""Sampling grids."""

import numpy as np
import pytest

from ldm_jax.diffusion import spacing
from ldm_jax.diffusion.processes import betas
from ldm_jax.diffusion.processes.ddpm import ddpm
from ldm_jax.errors import InputError
from tests.support.every import PROCESSES

T = 60
SHORT = ddpm(betas.linear(T, 1e-3, 0.2))
LINEAR = PROCESSES["linear"]
WHOLE = ("uniform", "leading", "trailing", "linspace")
every_grid = pytest.mark.parametrize("name", spacing.SPACINGS)


@every_grid
def test_a_grid_of_K_steps_has_K_steps_down_to_the_data(name):
    for K in (1, 2, 3, 7, 30, T - 1, T):
        grid = spacing.times(name, SHORT, K)
        assert grid.shape == (K + 1,)
        assert grid.dtype == np.float32
        assert np.all(np.diff(grid) < 0)
        assert grid[0] <= T
        assert grid[-1] == (1 if name == "uniform" and K < T else 0)


@pytest.mark.parametrize("name", WHOLE)
def test_as_many_steps_as_the_process_has_visit_all_of_them(name):
    assert spacing.times(name, SHORT, T).tolist() == list(range(T, -1, -1))


def test_uniform_is_the_originals_grid():
    """ddim_timesteps = 1, 21, ..., 981, counted from 0; alphas_prev begins with that of step 0."""
    steps = spacing.times("uniform", LINEAR, 50) - 1
    assert steps.tolist() == [*range(981, 0, -20), 0]


def test_leading_ends_at_the_first_step_and_trailing_starts_at_the_last():
    assert spacing.times("leading", LINEAR, 10).tolist() == [*range(901, 0, -100), 0]
    assert spacing.times("trailing", LINEAR, 10).tolist() == [*range(1000, 0, -100), 0]
    assert spacing.times("trailing", LINEAR, 7).tolist() == [1000, 857, 714, 571, 429, 286, 143, 0]


def test_linspace_does_both():
    assert spacing.times("linspace", LINEAR, 10).tolist() == [*range(1000, 0, -111), 0]
    # as diffusers and Karlo round what they count from 0: 499.5 to the even 500
    assert spacing.times("linspace", LINEAR, 5).tolist() == [1000, 750, 501, 251, 1, 0]


@pytest.mark.parametrize(
    ("name", "even"), [("karras", lambda rho: rho ** (1 / 7)), ("exponential", np.log)]
)
@pytest.mark.parametrize("process", PROCESSES)
def test_grids_of_levels_are_even_in_them(process, name, even):
    """From the noisiest time that is not pure noise, to the first one, and then to the data."""
    p = PROCESSES[process]
    for K in (1, 2, 10, 50):
        grid = spacing.times(name, p, K)
        alpha, sigma = (np.asarray(x, np.float64) for x in p.alpha_sigma(grid[:-1]))
        first = 1000 if p.alpha_sigma(np.float32(1000))[0] > 0 else 999
        np.testing.assert_allclose(grid[0], first, rtol=1e-5)
        if K > 1:
            np.testing.assert_allclose(grid[-2], 1, rtol=1e-3)
            steps = np.diff(even(sigma / alpha))
            np.testing.assert_allclose(steps, steps.mean(), rtol=5e-3)


def test_edm_is_karras_grid_by_itself():
    """sigma(t) of that process is even in sigma^(1 / 7), so its linspace is the same times."""
    p = PROCESSES["edm"]
    np.testing.assert_allclose(
        spacing.times("karras", p, 28), spacing.times("linspace", p, 28), atol=5e-3
    )


@pytest.mark.parametrize("K", [-1, 0, T + 1])
def test_impossible_numbers_of_steps_are_refused(K):
    with pytest.raises(InputError, match=f"{K} sampling steps: expected 1 to {T}"):
        spacing.times("uniform", SHORT, K)


def test_an_unknown_grid_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"'even' is unknown: .* uniform, leading, trailing"):
        spacing.times("even", SHORT, 10)


def test_times_by_hand_are_visited_down_to_the_data():
    for given in ([60, 31.5, 2], [60, 31.5, 2, 0], (60, 31.5, 2.0)):
        found = spacing.by_hand(given, T)
        assert found.dtype == np.float32
        assert found.tolist() == [60, 31.5, 2, 0]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([60, 61], "time 61 is out of range: expected above 0 .*, to 60"),
        ([10, -1], "time -1 is out of range"),
        ([10, float("nan")], "time nan is out of range"),
        ([10, 20], "time 20 follows 10: expected times that decrease"),
        ([20, 20], "time 20 follows 20"),
        ([0], "0 sampling times: expected 1 to 60"),
        (range(61, 0, -1), "61 sampling times: expected 1 to 60"),
    ],
)
def test_times_that_are_no_way_to_the_data_are_refused(given, why):
    with pytest.raises(InputError, match=why):
        spacing.by_hand(given, T)


@every_grid
def test_padding_keeps_the_grid_and_then_stays(name):
    grid = spacing.times(name, SHORT, 7)
    padded = spacing.pad(grid, T)
    assert padded.shape == (T + 1,)
    assert padded.dtype == grid.dtype
    assert padded[:8].tolist() == grid.tolist()
    assert set(padded[8:].tolist()) == {float(grid[-1])}


def test_a_later_part_of_a_grid_has_the_part_of_its_steps_requested():
    grid = np.array([1000, 800, 600, 400, 200, 0])
    assert spacing.later(grid, 1.0).tolist() == grid.tolist()
    assert spacing.later(grid, 0.6).tolist() == [600, 400, 200, 0]
    assert spacing.later(grid, 0.59).tolist() == [400, 200, 0]


def test_the_least_strength_that_is_named_keeps_a_step():
    for K in range(1, 2001):
        kept = len(spacing.later(np.arange(K + 1), spacing.least_strength(K))) - 1
        assert 1 <= kept <= 1 + K // 1000, K
