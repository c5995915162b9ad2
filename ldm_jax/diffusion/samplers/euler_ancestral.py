"""Euler steps with ancestral noise (k-diffusion's reading of Karras et al. 2022)."""

from ldm_jax.diffusion.samplers.ddim import ddim
from ldm_jax.types import Array, Sampler


def euler_ancestral(eta: Array | float = 1.0) -> Sampler:
    """An Euler step down to rho_down, then noise of rho_up, rho_down^2 + rho_up^2 = rho_s^2.

    rho_up = eta rho_s sqrt(1 - rho_s^2 / rho_t^2), rho = sigma / alpha. Multiplied by alpha_s this
    is DDIM's eq. 16, and the Euler step its eq. 12; so the two are one sampler with two defaults,
    and DDIM's form has no infinite rho where alpha_t = 0.

    Args:
        eta: scalar; 0 is Euler's method, 1 has the variance of the DDPM posterior.
    """
    return ddim(eta)
