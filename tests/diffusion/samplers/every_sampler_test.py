"""What holds for every sampler, whatever the process and whatever the network predicts."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import spacing
from ldm_jax.diffusion.samplers.churn import Churn
from ldm_jax.diffusion.samplers.loop import sample
from ldm_jax.diffusion.samplers.names import SAMPLERS
from ldm_jax.types import Denoised
from tests.diffusion.samplers import exact
from tests.support.every import PREDICTIONS, PROCESSES, T

K = 20  # the most steps
SHAPE = (4, 32, 32, 1)
KEYS = exact.keys(len(SHAPE))
LINEAR = PROCESSES["linear"]
ALL = {name: kind.make for name, kind in SAMPLERS.items()}
CHURNED = ("churned euler", "churned heun")
ALL |= {name: partial(ALL[name.split()[-1]], Churn(0.1)) for name in CHURNED}
KINDS = list(PREDICTIONS)
CALLS = {  # of the network, in K steps to the data
    "plms": lambda K: K + 1,
    "heun": lambda K: 2 * K - 1,
    "dpmpp_2s": lambda K: 2 * K - 1,
}
every_sampler = pytest.mark.parametrize("sampler", ALL)


@partial(jax.jit, static_argnames="sampler")
def compiled(process, grid, z, keys, target, kind, sampler):
    process = exact.Chosen(process)
    return sample(ALL[sampler](), target.network(process, kind), process, grid, z, keys)


def trajectory(process, grid, z, sampler, target=exact.GAUSSIAN, kind="x0", keys=KEYS):
    """One compiled function for each sampler; the process by its name."""
    grid = spacing.pad(np.asarray(grid, np.float32), K)
    number = list(PROCESSES).index(process)
    return compiled(number, grid, z, keys, target, KINDS.index(kind), sampler)


def noise(process, seed=1):
    """Where sampling starts."""
    return process.initial_noise_std(jnp.float32(T)) * jax.random.normal(
        jax.random.key(seed), SHAPE
    )


@every_sampler
@pytest.mark.parametrize("name", PROCESSES)
def test_every_prediction_is_finite_from_pure_noise_to_the_data(name, sampler):
    """At both ends of time, in one step, with halves of steps, and with an end before the data."""
    process = PROCESSES[name]
    ends_in_pure_noise = process.alpha_sigma(jnp.float32(T))[0] < 1e-6
    for kind in KINDS:
        if kind == "eps" and ends_in_pure_noise:
            continue  # of which it says nothing, or nothing that float32 can hold
        for grid in [T, T // 2, 1, 0], [T, 0], [T, 2, 1], [T - 0.5, 500.25, 0.5]:
            x = trajectory(name, grid, noise(process), sampler, kind=kind)
            assert np.isfinite(x).all(), (kind, grid)
            if grid == [T, 0] and sampler not in CHURNED:
                np.testing.assert_allclose(np.mean(x), exact.GAUSSIAN.mean, atol=0.1)


@every_sampler
@pytest.mark.parametrize("name", ["linear", "zero_terminal_snr", "edm", "rectified_flow"])
def test_where_the_data_are_certain_the_noise_level_is_that_of_the_process(name, sampler):
    """z_s ~ N(alpha_s x_0, sigma_s^2), by solvers of the flow and of the SDE alike."""
    process = PROCESSES[name]
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (process.alpha_sigma(jnp.float32(t)) for t in (T, 250))
    start = jax.random.normal(jax.random.key(1), SHAPE)
    z = alpha_t * 0.7 + sigma_t * start
    x = trajectory(name, [T, 800, 500, 300, 250], z, sampler, exact.POINT)
    found = (x - 0.7 * alpha_s) / sigma_s
    n = found.size
    assert abs(float(jnp.mean(found))) < 4 / np.sqrt(n)
    assert abs(float(jnp.std(found)) - 1) < 4 / np.sqrt(2 * n)
    if sampler in exact.DETERMINISTIC:  # it is the noise of the start
        np.testing.assert_allclose(found, start, atol=2e-3)


@pytest.mark.parametrize("sampler", [name for name in ALL if name != "lcm"])
def test_the_target_is_reached(sampler):
    """But by LCM, which wants a consistency model and not the best denoiser."""
    grid = spacing.times("exponential", LINEAR, K)
    x = trajectory("linear", grid, noise(LINEAR), sampler)
    assert abs(float(jnp.mean(x)) - exact.GAUSSIAN.mean) < 0.03
    first_order = sampler in ("ddpm", "ddim", "euler", "euler_ancestral", "churned euler")
    assert abs(float(jnp.std(x)) / exact.GAUSSIAN.std - 1) < (0.25 if first_order else 0.06)


@every_sampler
def test_a_padded_grid_gives_the_same_numbers(sampler):
    """And steps that go nowhere are not made."""
    grid = spacing.times("karras", LINEAR, 6)
    asked = []

    def denoise(z, t):
        asked.append(t.tolist())
        return exact.GAUSSIAN.denoiser(LINEAR)(z, t)

    def by_hand(grid):
        z = jnp.ones((2, 1, 1, 1))
        return sample(ALL[sampler](), denoise, LINEAR, jnp.asarray(grid), z, KEYS[:2])

    with jax.disable_jit():
        np.testing.assert_array_equal(by_hand(grid), by_hand(spacing.pad(grid, 9)))
    half = len(asked) // 2
    assert asked[:half] == asked[half:]
    assert half == CALLS.get(sampler.split()[-1], lambda K: K)(6)
    if half == 6 and sampler not in CHURNED:
        assert asked[:half] == [[t, t] for t in grid[:-1].tolist()]


@every_sampler
def test_an_example_depends_on_its_key_alone(sampler):
    """Wherever in its batch it stands."""
    grid, order = spacing.times("trailing", LINEAR, 6), np.array([2, 0, 3, 1])
    x = trajectory("linear", grid, noise(LINEAR), sampler)
    moved = trajectory("linear", grid, noise(LINEAR)[order], sampler, keys=KEYS[order])
    np.testing.assert_array_equal(x[order], moved)


@every_sampler
def test_only_random_samplers_hear_their_keys(sampler):
    grid = spacing.times("trailing", LINEAR, 6)[:-1]
    one, other = (
        trajectory("linear", grid, noise(LINEAR), sampler, keys=exact.keys(4, seed))
        for seed in (0, 1)
    )
    assert (np.abs(one - other).max() > 0.01) == (sampler in exact.RANDOM + CHURNED)


@every_sampler
def test_any_number_of_steps_is_one_compilation(sampler):
    """And so are any seeds, times, schedules and targets."""
    before = compiled._cache_size()
    trajectory("linear", spacing.times("uniform", LINEAR, 1), noise(LINEAR), sampler)
    assert compiled._cache_size() <= before + 1
    between = compiled._cache_size()
    trajectory("cosine", spacing.times("karras", LINEAR, K), noise(LINEAR), sampler)
    trajectory("linear", [900, 3.5], noise(LINEAR), sampler, exact.POINT, "v", exact.keys(4, 7))
    assert compiled._cache_size() == between


@every_sampler
def test_gradients_pass_through(sampler):
    """From pure noise to the data, as for gradients through a trajectory."""
    process = PROCESSES["zero_terminal_snr"]
    grid, denoise = jnp.array([T, 700, 0.0]), exact.GAUSSIAN.denoiser(process)

    def loss(z):
        return jnp.sum(sample(ALL[sampler](), denoise, process, grid, z, KEYS[:1]))

    with jax.disable_jit():
        assert np.isfinite(jax.grad(loss)(jnp.ones((1, 1, 1, 1)))).all()


@every_sampler
def test_a_step_to_the_data_is_the_denoisers_prediction(sampler):
    """LCM bends it, by 1e-9."""
    z = jnp.linspace(-1.0, 1.0, 4).reshape(4, 1, 1, 1)
    made = ALL[sampler.split()[-1]]()
    with jax.disable_jit():
        x = sample(made, lambda z, t: Denoised(jnp.sin(z)), LINEAR, jnp.array([700, 0]), z, KEYS)
    np.testing.assert_allclose(x, jnp.sin(z), atol=1e-6)
