"""From a network's raw output to a denoiser."""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.denoiser import denoiser
from ldm_jax.diffusion.process import add_noise, alpha_sigma_like
from tests.support.every import PREDICTIONS, PROCESSES, every_pair

TIMES = jnp.array([1.0, 500.0, 999.5])
X0, NOISE = jax.random.normal(jax.random.key(1), (2, len(TIMES), 4, 4, 2))


@every_pair
def test_a_network_is_given_its_input_and_time_and_understood(p, kind):
    given = {}
    alpha, sigma = alpha_sigma_like(p, TIMES, X0)
    z = add_noise(p, X0, NOISE, TIMES)

    def perfect(z, time):
        given.update(z=z, time=time)
        return kind.target(X0, NOISE, alpha, sigma)

    answer = denoiser(perfect, p, kind)(z, TIMES)
    slope = jnp.abs(kind.x0(jnp.ones(()), jnp.zeros(()), alpha, sigma))
    assert jnp.all(jnp.abs(answer.x0 - X0) < 2e-5 * (1.0 + slope))
    assert answer.variance_fraction is None
    np.testing.assert_allclose(given["z"], kind.scale(alpha, sigma) * z, rtol=1e-6)
    np.testing.assert_array_equal(given["time"], p.timestep(TIMES))


def test_a_network_with_twice_the_channels_has_learned_its_variance():
    p, kind = PROCESSES["linear"], PREDICTIONS["eps"]
    z = add_noise(p, X0, NOISE, TIMES)
    variance = jnp.linspace(-1.0, 1.0, X0.size).reshape(X0.shape)

    def network(z, time):
        return jnp.concatenate([NOISE, variance], axis=-1)

    both = denoiser(network, p, kind)(z, TIMES)
    alone = denoiser(lambda z, time: NOISE, p, kind)(z, TIMES)
    np.testing.assert_array_equal(both.x0, alone.x0)
    np.testing.assert_allclose(both.variance_fraction, (variance + 1) / 2, rtol=1e-6)
