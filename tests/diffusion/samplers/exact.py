"""Targets whose every x0 is known, and all samplers.

Where x_0 is a mixture of N(m_i, s_i^2), z_t is one of N(alpha m_i, alpha^2 s_i^2 + sigma^2), and
E[x_0 | z_t] follows by Bayes. In one dimension the probability flow keeps the quantile of z_t, so
it is known as well.
"""

import math
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion import prediction
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.names import SAMPLERS
from ldm_jax.types import Denoised
from tests.support.every import PREDICTIONS, PROCESSES, T


class Chosen(flax.struct.PyTreeNode):
    """One of PROCESSES by its number, so that one compiled function serves them all."""

    number: int
    T = T

    def alpha_sigma(self, t):
        return jax.lax.switch(self.number, [p.alpha_sigma for p in PROCESSES.values()], t)

    def time_at(self, log_snr):
        return jax.lax.switch(self.number, [p.time_at for p in PROCESSES.values()], log_snr)


RANDOM = ("ddpm", "euler_ancestral", "dpmpp_2m_sde", "lcm")
DETERMINISTIC = tuple(name for name in SAMPLERS if name not in RANDOM)


class Target(NamedTuple):
    """A mixture, the same one for every element; one part of it may be a point."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.dot(self.weights, self.means))

    @property
    def std(self) -> float:
        second = np.dot(self.weights, np.square(self.means) + np.square(self.stds))
        return float(np.sqrt(second - self.mean**2))

    def x0(self, z, alpha, sigma):
        """E[x_0 | z]."""
        parts, logits = [], []
        for weight, m, s in zip(*self, strict=True):
            variance = jnp.square(alpha * s) + jnp.square(sigma)
            away = z - alpha * m
            parts.append(m + alpha * s**2 / variance * away)
            logits.append(jnp.log(weight) - (jnp.square(away) / variance + jnp.log(variance)) / 2)
        return jnp.sum(jax.nn.softmax(jnp.stack(logits), axis=0) * jnp.stack(parts), axis=0)

    def denoiser(self, process):
        """The best denoiser there is."""
        return lambda z, t: Denoised(self.x0(z, *alpha_sigma_like(process, t, z)))

    def network(self, process, kind):
        """The same through a network's output: the number `kind` of PREDICTIONS, traced."""

        def through(chosen):
            def x0(z, alpha, sigma):
                predicted = self.x0(z, alpha, sigma)
                eps = prediction.noise_of(predicted, z, alpha, sigma)
                return chosen.x0(chosen.target(predicted, eps, alpha, sigma), z, alpha, sigma)

            return x0

        kinds = [through(chosen) for chosen in PREDICTIONS.values()]
        return lambda z, t: Denoised(
            jax.lax.switch(kind, kinds, z, *alpha_sigma_like(process, t, z))
        )

    def quantile(self, z, alpha, sigma):
        """P(z_t < z), in float64."""
        return sum(
            weight * (1 + _erf((z - alpha * m) / np.sqrt(2 * ((alpha * s) ** 2 + sigma**2)))) / 2
            for weight, m, s in zip(*self, strict=True)
        )

    def flow(self, z, at_t, at_s):
        """Where the probability flow takes z, by bisection."""
        wanted = self.quantile(np.asarray(z, np.float64), *at_t)
        low, high = np.full(z.shape, -1e3), np.full(z.shape, 1e3)
        for _ in range(80):
            middle = (low + high) / 2
            below = self.quantile(middle, *at_s) < wanted
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return low


_erf = np.vectorize(math.erf)
POINT = Target((1.0,), (0.7,), (0.0,))
GAUSSIAN = Target((1.0,), (0.7,), (0.4,))
MIXTURE = Target((0.3, 0.7), (-0.8, 0.6), (0.3, 0.2))


def keys(count: int, seed: int = 0):
    """One random key an example."""
    return jax.random.split(jax.random.key(seed), count)
