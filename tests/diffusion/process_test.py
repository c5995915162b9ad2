"""What holds for every noising process."""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion import process
from tests.support.every import T, every_process


@every_process
def test_data_are_at_time_zero(p):
    alpha, sigma = p.alpha_sigma(jnp.array(0))
    assert (alpha, sigma) == (1.0, 0.0)


@every_process
def test_noise_grows_and_signal_does_not(p):
    alpha, sigma = p.alpha_sigma(jnp.linspace(0, T, 4001))
    assert np.isfinite([alpha, sigma]).all()
    assert np.all(np.diff(alpha) <= 1e-7)
    assert np.all(np.diff(sigma) >= -1e-7)
    assert np.all(np.diff(sigma[1:-1] / alpha[1:-1]) > 0)


@every_process
def test_time_at_undoes_log_snr(p):
    t = jnp.concatenate([jnp.linspace(0.1, 3, 30), jnp.linspace(3, T, 300)])
    found = p.time_at(process.log_snr(p, t))
    np.testing.assert_allclose(found, t, rtol=2e-4)


@every_process
def test_log_snr_undoes_time_at(p):
    log_snr = jnp.linspace(8.0, -3.0, 100)
    found = process.log_snr(p, p.time_at(log_snr))
    np.testing.assert_allclose(found, log_snr, atol=1e-3)


@every_process
def test_the_ends_of_log_snr_are_the_ends_of_time(p):
    np.testing.assert_allclose(p.time_at(jnp.array([jnp.inf, -jnp.inf])), [0.0, T], rtol=1e-6)


@every_process
def test_rates_have_the_shape_of_the_times(p):
    for shape in ((), (3,), (3, 2)):
        for t in (jnp.full(shape, 7), jnp.full(shape, 7.5)):
            alpha, sigma = p.alpha_sigma(t)
            assert alpha.shape == sigma.shape == p.initial_noise_std(t).shape == shape
            assert alpha.dtype == sigma.dtype == p.initial_noise_std(t).dtype == jnp.float32
    alpha, sigma = process.alpha_sigma_like(p, jnp.array([1, 2, 3]), jnp.zeros((3, 4, 4, 2)))
    assert alpha.shape == sigma.shape == (3, 1, 1, 1)


@every_process
def test_each_example_is_noised_at_its_own_time(p):
    x0, noise = jax.random.normal(jax.random.key(0), (2, 4, 3, 3, 2))
    t = jnp.array([0, 1, 500.5, T])
    z = process.add_noise(p, x0, noise, t)
    for i, at in enumerate(t):
        alpha, sigma = p.alpha_sigma(at)
        np.testing.assert_allclose(z[i], alpha * x0[i] + sigma * noise[i], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(z[0], x0[0])


@every_process
def test_sampling_starts_from_the_variance_of_noised_data(p):
    """Of data with variance 1, but for EDM's, which are nothing beside the noise."""
    alpha, sigma = p.alpha_sigma(jnp.array(T))
    np.testing.assert_allclose(
        p.initial_noise_std(jnp.array(T)) ** 2, alpha**2 + sigma**2, rtol=2e-4
    )
