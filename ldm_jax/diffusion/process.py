"""Noising processes: z_t = alpha_t x + sigma_t eps.

Time follows the papers: t = 0 is data, t = 1 ... T are the noised steps. (The original code counts
its steps from 0; `network_time` is that count.)
"""

import flax.struct
import jax.numpy as jnp
import numpy as np

from ldm_jax.types import Array


class DDPM(flax.struct.PyTreeNode):
    """The discrete variance-preserving process of Ho et al. 2020, as tables over t = 0 ... T."""

    alphas: Array  # [T + 1] sqrt(alpha_bar_t); alphas[0] = 1
    sigmas: Array  # [T + 1] sqrt(1 - alpha_bar_t); sigmas[0] = 0

    @property
    def T(self) -> int:
        """Number of noising steps."""
        return len(self.alphas) - 1

    def rates(self, t: Array) -> tuple[Array, Array]:
        """alpha_t and sigma_t at integer times `t` in 0 ... T, each of the shape of `t`."""
        t = t.astype(jnp.int32)
        return self.alphas[t], self.sigmas[t]


def ddpm(betas: np.ndarray) -> DDPM:
    """The process with step variances beta_1 ... beta_T (Ho et al. 2020, eq. 2 and 4)."""
    # float64 until the end: the product of a thousand factors, and 1 - alpha_bar near t = 0
    alpha_bar = np.concatenate([[1.0], np.cumprod(1.0 - np.asarray(betas, np.float64))])
    return DDPM(
        alphas=jnp.asarray(np.sqrt(alpha_bar), jnp.float32),
        sigmas=jnp.asarray(np.sqrt(1.0 - alpha_bar), jnp.float32),
    )


def linear_betas(T: int, start: float = 1e-4, end: float = 0.02) -> np.ndarray:
    """beta linear in t, [T] (Ho et al. 2020, section 4; their 1e-4 ... 0.02)."""
    return np.linspace(start, end, T, dtype=np.float64)


def scaled_linear_betas(T: int, start: float = 0.0015, end: float = 0.0195) -> np.ndarray:
    """sqrt(beta) linear in t, [T] (the schedule that the latent diffusion code calls "linear")."""
    return np.linspace(start**0.5, end**0.5, T, dtype=np.float64) ** 2


def cosine_betas(T: int, s: float = 0.008, largest: float = 0.999) -> np.ndarray:
    """The cosine schedule, [T] (Nichol and Dhariwal 2021, eq. 17)."""
    f = np.cos((np.arange(T + 1, dtype=np.float64) / T + s) / (1 + s) * np.pi / 2) ** 2
    return np.minimum(1.0 - f[1:] / f[:-1], largest)


def network_time(t: Array) -> Array:
    """The step as the networks are told it, counted from 0 like the original's timesteps."""
    return t - 1


def add_noise(process, x0: Array, noise: Array, t: Array) -> Array:
    """z_t ~ q(z_t | x_0) (Ho et al. 2020, eq. 4).

    Args:
        x0, noise: [B, ...].
        t: [B] times.
    """
    alpha, sigma = rates_like(process, t, x0)
    return alpha * x0 + sigma * noise


def rates_like(process, t: Array, x: Array) -> tuple[Array, Array]:
    """alpha_t and sigma_t for t [B], shaped [B, 1, ..., 1] to multiply x [B, ...]."""
    shape = t.shape + (1,) * (x.ndim - t.ndim)
    alpha, sigma = process.rates(t)
    return alpha.reshape(shape), sigma.reshape(shape)
