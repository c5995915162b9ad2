"""LMS: the linear multistep method on the probability flow (k-diffusion's sampler)."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.transfer import relative_noise, transfer
from ldm_jax.types import Array, Sampler

ORDER = 4
GAUSS = np.sqrt(1 / 3) * np.array([-1.0, 1.0])  # Gauss' rule of two points, exact for cubics


class Past(NamedTuple):
    """The slopes of the last steps, newest first; one at infinite rho has no weight."""

    eps: Array  # [3, B, h, w, c]
    rho: Array  # [3, B, 1, 1, 1]


def lms() -> Sampler:
    """Integrates the polynomial through up to four slopes d(z / alpha) / d rho = eps, over rho.

    The Adams-Bashforth method with weights for uneven steps (Hairer, Norsett and Wanner 1993,
    section III.5).
    """

    def init(z):
        rho = jnp.full((ORDER - 1, len(z)) + (1,) * (z.ndim - 1), jnp.inf, z.dtype)
        return Past(jnp.zeros((ORDER - 1, *z.shape), z.dtype), rho)

    def step(denoise, process, keys, z, t, s, past):
        at_t, at_s = alpha_sigma_like(process, t, z), alpha_sigma_like(process, s, z)
        x0 = denoise(z, t).x0
        eps = noise_of(x0, z, *at_t)
        eps_all = jnp.concatenate([eps[None], past.eps])
        rho_all = jnp.concatenate([relative_noise(at_t)[None], past.rho])
        ahead = transfer(x0, z, at_t, at_s)
        # the weights add up to rho_s - rho_t; `ahead` already contains that step along eps
        others = weights(rho_all, relative_noise(at_s))[1:]
        ahead = ahead + at_s[0] * jnp.sum(others * (past.eps - eps), axis=0)
        return ahead, Past(eps_all[:-1], rho_all[:-1])

    return Sampler(step, init)


def weights(rho: Array, end: Array) -> Array:
    """The integrals from rho[0] to `end` of Lagrange's polynomials on the nodes rho [n, ...].

    A node at infinity has weight 0, and its factor in the others' weights is 1. From an infinite
    rho[0] all weights are 0.
    """
    finite = jnp.isfinite(rho)
    start = jnp.where(finite[0], rho[0], end)
    found = []
    for j in range(len(rho)):
        integral = 0.0
        for node in GAUSS:
            r = (start + end) / 2 + node * (end - start) / 2
            product = (end - start) / 2
            for k in range(len(rho)):
                if k != j:
                    factor = (r - rho[k]) / (rho[j] - rho[k])
                    product = product * jnp.where(finite[k], factor, 1.0)
            integral = integral + product
        found.append(jnp.where(finite[j], integral, 0.0))
    return jnp.stack(found)
