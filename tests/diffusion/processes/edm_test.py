"""The process of EDM, at the numbers of its paper."""

import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.processes.edm import EDM

P = EDM(T=18)


def test_whole_times_are_the_papers_sampling_grid():
    """Eq. 5, its N = 18 steps counted backwards."""
    i = np.arange(18)
    root = 80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))
    alpha, sigma = P.alpha_sigma(jnp.arange(18, 0, -1))
    np.testing.assert_allclose(sigma, root**7, rtol=2e-6)
    assert alpha.tolist() == [1.0] * 18
    np.testing.assert_allclose(sigma[jnp.array([0, 17])], [80.0, 0.002], rtol=2e-6)


def test_below_sigma_min_noise_falls_to_nothing():
    _, sigma = P.alpha_sigma(jnp.array([0.0, 0.25, 0.5]))
    np.testing.assert_allclose(sigma, [0.0, 0.0005, 0.001], rtol=1e-6)


def test_networks_are_given_a_quarter_of_the_logarithm():
    t = P.time_at(-2 * jnp.log(jnp.array([0.01, 1.0, 50.0])))
    np.testing.assert_allclose(P.timestep(t), np.log([0.01, 1.0, 50.0]) / 4, atol=1e-5)


def test_sampling_starts_from_as_much_noise_as_there_is():
    np.testing.assert_allclose(
        P.initial_noise_std(jnp.array([18.0, 1.0])), [80.0, 0.002], rtol=2e-6
    )
