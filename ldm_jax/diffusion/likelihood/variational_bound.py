"""The variational bound on the likelihood, term by term (Nichol and Dhariwal 2021, section 3)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.losses import vlb
from ldm_jax.diffusion.losses.simple import mean_flat
from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.diffusion.process import add_noise, alpha_sigma_like
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.types import Array, Denoise, Process


class Bound(NamedTuple):
    """The bound and its terms, all in bits per dimension but for the errors."""

    total: Array  # [B] upper bound of the bits: the sum of the prior and all terms
    prior: Array  # [B] L_T, which does not depend on the denoiser
    terms: Array  # [B, T] L_0 ... L_{T-1}, of the steps from t = 1 ... T
    x0_error: Array  # [B, T] mean squared error of x0 at t = 1 ... T
    eps_error: Array  # [B, T] mean squared error of the noise


def variational_bound(
    denoise: Denoise, process: Process, x0: Array, keys: Array, levels: int | None = None
) -> Bound:
    """The whole bound, at the cost of T passes.

    Args:
        x0: [B, h, w, c].
        keys: [B] one key an example; the noise at time t is drawn from fold_in(key, t).
        levels: of pixels in -1 ... 1, which have probabilities; None: x0 has a density, which may
            be greater than 1, and bits below 0.
    """

    def at(t):
        times = jnp.full(len(x0), t)
        noise = normal_like(jax.vmap(jax.random.fold_in, (0, None))(keys, t), x0)
        z = add_noise(process, x0, noise, times)
        denoised = denoise(z, times)
        eps = noise_of(denoised.x0, z, *alpha_sigma_like(process, times, z))
        return (
            vlb.bound(process, denoised, x0, z, times, levels),
            mean_flat(jnp.square(denoised.x0 - x0)),
            mean_flat(jnp.square(eps - noise)),
        )

    terms, x0_error, eps_error = (x.T for x in jax.lax.map(at, jnp.arange(1, process.T + 1)))
    prior = vlb.prior(process, x0)
    return Bound(prior + jnp.sum(terms, axis=1), prior, terms, x0_error, eps_error)
