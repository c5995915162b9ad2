"""Euler's method on the probability flow, with the churn of Karras et al. 2022 (algorithm 2)."""

from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.churn import NO_CHURN, Churn, add_churn
from ldm_jax.diffusion.samplers.transfer import transfer
from ldm_jax.types import Sampler


def euler(churn: Churn = NO_CHURN) -> Sampler:
    """Euler's method in rho = sigma / alpha, where the flow is d(z / alpha) / d rho = eps.

    Straight paths are solved exactly in any coordinate that is linear in alpha and sigma, so this
    is also Euler's method on dz / dt of a rectified flow; and without churn it is DDIM.
    """

    def step(denoise, process, keys, z, t, s, state):
        z, t = add_churn(churn, process, keys, z, t)
        x0 = denoise(z, t).x0
        return transfer(
            x0, z, alpha_sigma_like(process, t, z), alpha_sigma_like(process, s, z)
        ), state

    return Sampler(step)
