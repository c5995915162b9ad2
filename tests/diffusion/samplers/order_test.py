"""How fast the deterministic samplers converge to the probability flow, in float64."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import spacing
from ldm_jax.diffusion.samplers.dpmpp_3m import dpmpp_3m
from ldm_jax.diffusion.samplers.loop import sample
from ldm_jax.diffusion.samplers.names import SAMPLERS
from tests.diffusion.samplers import exact

ORDERS = {
    "ddim": 1, "euler": 1, "plms": 2, "heun": 2, "dpmpp_2m": 2, "dpmpp_2s": 2, "dpmpp_3m": 3,
    "unipc": 3, "lms": 4,
}  # fmt: skip
MAKERS = {name: SAMPLERS[name].make for name in ORDERS} | {"3m as published": partial(dpmpp_3m, 1)}


class Path(NamedTuple):
    """A process in closed form, in the precision of its argument; t is lambda."""

    preserving: bool

    def alpha_sigma(self, t):
        if self.preserving:  # alpha^2 = sigmoid(2 lambda)
            return tuple(jnp.exp(-jax.nn.softplus(x) / 2) for x in (-2 * t, 2 * t))
        return jnp.ones_like(t), jnp.exp(-t)

    def time_at(self, log_snr):
        return log_snr / 2


@partial(jax.jit, static_argnames=("sampler", "target", "path"))
def trajectory(grid, z, sampler, target, path):
    return sample(MAKERS[sampler](), target.denoiser(path), path, grid, z, exact.keys(len(z)))


def orders(sampler, target, path, start, stop, counts):
    """The slopes of log error over log K, between neighbouring counts."""
    with jax.enable_x64(True):
        at_t, at_s = (
            tuple(map(float, path.alpha_sigma(jnp.float64(end)))) for end in (start, stop)
        )
        noise = jnp.linspace(-1.5, 1.5, 9, dtype=jnp.float64).reshape(1, 3, 3, 1)
        z = at_t[0] * target.mean + np.hypot(at_t[0] * target.std, at_t[1]) * noise
        errors = []
        for K in counts:
            grid = spacing.pad(np.linspace(start, stop, K + 1), max(counts))
            found = np.asarray(trajectory(grid, z, sampler, target, path))
            errors.append(np.abs(found - target.flow(np.asarray(z), at_t, at_s)).max())
    return np.diff(np.log(errors)) / -np.diff(np.log(counts)), errors


@pytest.mark.parametrize("path", [Path(True), Path(False)], ids=["preserving", "exploding"])
@pytest.mark.parametrize("sampler", ORDERS)
def test_a_sampler_has_its_order_on_a_gaussian(sampler, path):
    slopes, errors = orders(sampler, exact.GAUSSIAN, path, -4.0, 2.0, (320, 640))
    np.testing.assert_allclose(slopes[-1], ORDERS[sampler], atol=0.3, err_msg=f"{errors}")


@pytest.mark.parametrize("sampler", ORDERS)
def test_a_sampler_has_its_order_on_a_mixture(sampler):
    slopes, errors = orders(sampler, exact.MIXTURE, Path(True), -4.0, 1.5, (320, 640))
    np.testing.assert_allclose(slopes[-1], ORDERS[sampler], atol=0.3, err_msg=f"{errors}")


def test_the_third_order_as_published_is_a_second_one():
    """It takes half of the second derivative; see `dpmpp_3m`."""
    slopes, errors = orders("3m as published", exact.GAUSSIAN, Path(True), -4.0, 2.0, (320, 640))
    np.testing.assert_allclose(slopes[-1], 2, atol=0.3, err_msg=f"{errors}")
