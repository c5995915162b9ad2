"""Flows: straight and circular paths from data to pure noise, in continuous time."""

from collections.abc import Callable
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from ldm_jax.types import Array


class Path(NamedTuple):
    """A path over u = 0 (data) ... 1 (noise)."""

    alpha_sigma: Callable[[Array], tuple[Array, Array]]  # u -> alpha, sigma
    at: Callable[[Array], Array]  # log(alpha^2 / sigma^2) -> u


# z = (1 - u) x + u eps (Liu, Gong and Liu 2023; Lipman et al. 2023)
rectified = Path(
    alpha_sigma=lambda u: (1.0 - u, u),
    at=lambda log_snr: jax.nn.sigmoid(-log_snr / 2),
)

# z = cos(pi u / 2) x + sin(pi u / 2) eps (Albergo and Vanden-Eijnden 2023). alpha is written as
# sin(pi (1 - u) / 2), which is exactly 0 at u = 1.
cosine = Path(
    alpha_sigma=lambda u: (jnp.sin(jnp.pi / 2 * (1.0 - u)), jnp.sin(jnp.pi / 2 * u)),
    at=lambda log_snr: 2 / jnp.pi * jnp.arctan(jnp.exp(-log_snr / 2)),
)


class Flow(flax.struct.PyTreeNode):
    """A path with u = shifted(t / T, shift), t from 0 (data) to T (noise).

    Networks are given the timestep 1000 u, as in Stable Diffusion 3.
    """

    path: Path = flax.struct.field(pytree_node=False, default=rectified)
    T: int = flax.struct.field(pytree_node=False, default=1000)
    shift: float = flax.struct.field(pytree_node=False, default=1.0)

    discrete = False

    def alpha_sigma(self, t: Array) -> tuple[Array, Array]:
        return self.path.alpha_sigma(self._u(t))

    def time_at(self, log_snr: Array) -> Array:
        return self.T * shifted(self.path.at(log_snr), 1.0 / self.shift)

    def timestep(self, t: Array) -> Array:
        """1000 u, in 0 ... 1000."""
        return 1000.0 * self._u(t)

    def initial_noise_std(self, t: Array) -> Array:
        return jnp.ones_like(t, jnp.float32)

    def _u(self, t: Array) -> Array:
        return shifted(jnp.asarray(t, jnp.float32) / self.T, self.shift)


def shifted(u: Array, shift: float) -> Array:
    """s u / (1 + (s - 1) u): more time in noise, for s times as many pixels a side (Esser et al.
    2024, eq. 23). Shifting by 1 / s undoes it."""
    return shift * u / (1.0 + (shift - 1.0) * u)
