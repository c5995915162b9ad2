"""The training objective."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import prediction, process
from ldm_jax.diffusion.loss import simple_loss
from ldm_jax.diffusion.processes import betas
from ldm_jax.diffusion.processes.ddpm import ddpm

PROCESS = ddpm(betas.scaled_linear(1000))
X0, NOISE = jax.random.normal(jax.random.key(0), (2, 4, 4, 4, 2))
TIMES = jnp.array([1, 10, 500, 1000])

every_prediction = pytest.mark.parametrize("kind", [prediction.eps, prediction.v], ids=["eps", "v"])


def loss(network, kind, x0=X0, noise=NOISE, t=TIMES):
    return simple_loss(network, PROCESS, kind, x0, noise, t)


def target(kind):
    return kind.target(X0, NOISE, *process.rates_like(PROCESS, TIMES, X0))


@every_prediction
def test_a_perfect_network_has_no_loss(kind):
    assert loss(lambda z, steps: target(kind), kind).tolist() == [0.0] * 4


@every_prediction
def test_a_network_that_is_off_by_d_loses_d_squared(kind):
    off = jnp.array([0.0, 1.0, 2.0, 3.0]).reshape(4, 1, 1, 1)
    found = loss(lambda z, steps: target(kind) + off, kind)
    np.testing.assert_allclose(found, [0.0, 1.0, 4.0, 9.0], rtol=1e-5)


@every_prediction
def test_each_example_has_its_own_loss(kind):
    def network(z, steps):
        return jnp.tanh(z) + steps.reshape(4, 1, 1, 1) / 1000

    before = loss(network, kind)
    changed = loss(network, kind, x0=X0.at[1].add(1.0), noise=NOISE.at[2].add(1.0))
    assert ((before == changed) == jnp.array([True, False, False, True])).all()


def test_the_network_sees_noised_data_and_steps_from_zero():
    seen = {}

    def network(z, steps):
        seen.update(z=z, steps=steps)
        return z

    loss(network, prediction.eps)
    assert seen["steps"].tolist() == [0, 9, 499, 999]
    noised = process.add_noise(PROCESS, X0, NOISE, TIMES)
    np.testing.assert_allclose(seen["z"], noised, rtol=1e-6)
