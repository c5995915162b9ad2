"""The variance-exploding process of EDM: alpha = 1 (Karras, Aittala, Aila and Laine 2022)."""

import flax.struct
import jax.numpy as jnp

from ldm_jax.types import Array


class EDM(flax.struct.PyTreeNode):
    """z = x + sigma eps, with sigma(t) from 0 at t = 0 over sigma_min at 1 to sigma_max at T.

    From 1 to T sigma^(1 / rho) is linear in t, as in the paper's timestep spacing (eq. 5). Below
    1, sigma itself is.
    """

    T: int = flax.struct.field(pytree_node=False, default=1000)
    sigma_min: float = flax.struct.field(pytree_node=False, default=0.002)
    sigma_max: float = flax.struct.field(pytree_node=False, default=80.0)
    rho: float = flax.struct.field(pytree_node=False, default=7.0)

    discrete = False

    def alpha_sigma(self, t: Array) -> tuple[Array, Array]:
        t = jnp.asarray(t, jnp.float32)
        low, high = self._roots
        root = low + (jnp.maximum(t, 1.0) - 1.0) / max(self.T - 1, 1) * (high - low)
        sigma = jnp.where(t < 1.0, t * self.sigma_min, root**self.rho)
        return jnp.ones_like(t), sigma

    def time_at(self, log_snr: Array) -> Array:
        sigma = jnp.exp(-log_snr / 2)
        low, high = self._roots
        t = 1.0 + (sigma ** (1 / self.rho) - low) / (high - low) * max(self.T - 1, 1)
        return jnp.minimum(jnp.where(sigma < self.sigma_min, sigma / self.sigma_min, t), self.T)

    def timestep(self, t: Array) -> Array:
        """c_noise = ln(sigma) / 4 (table 1)."""
        return jnp.log(self.alpha_sigma(t)[1]) / 4.0

    def initial_noise_std(self, t: Array) -> Array:
        """sigma_t, beside which the data's own is negligible."""
        return self.alpha_sigma(t)[1]

    @property
    def _roots(self) -> tuple[float, float]:
        return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
