"""The discrete variance-preserving process (Ho, Jain and Abbeel 2020)."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.types import Array


class DDPM(flax.struct.PyTreeNode):
    """Tables over t = 0 ... T; between its steps log-SNR is linear in t.

    In the steps at the ends, where log-SNR is not finite, sigma / alpha is linear (from 0 at
    t = 0), or alpha / sigma (to 0 at t = T, where the terminal SNR is zero).
    """

    alphas: Array  # [T + 1] sqrt(alpha_bar_t); alphas[0] = 1
    sigmas: Array  # [T + 1] sqrt(1 - alpha_bar_t); sigmas[0] = 0
    log_snrs: Array  # [T + 1] log(alpha^2 / sigma^2), decreasing; log_snrs[0] = inf

    discrete = True

    @property
    def T(self) -> int:
        """Number of noising steps."""
        return len(self.alphas) - 1

    def alpha_sigma(self, t: Array) -> tuple[Array, Array]:
        """The tables themselves where t is whole."""
        step = jnp.floor(t).astype(jnp.int32)
        w = t - step
        before, after = self.log_snrs[step], self.log_snrs[jnp.minimum(step + 1, self.T)]
        log_snr = before + w * (after - before)
        log_snr = jnp.where(jnp.isinf(after), before + 2.0 * jnp.log1p(-w), log_snr)
        log_snr = jnp.where(jnp.isinf(before), after - 2.0 * jnp.log(w), log_snr)
        # alpha^2 = sigmoid(log_snr), which may be too small for a float32 where its root is not
        alpha, sigma = (jnp.exp(-jax.nn.softplus(x) / 2.0) for x in (-log_snr, log_snr))
        whole = w == 0
        return (
            jnp.where(whole, self.alphas[step], alpha),
            jnp.where(whole, self.sigmas[step], sigma),
        )

    def time_at(self, log_snr: Array) -> Array:
        T, steps = self.T, jnp.arange(self.T + 1, dtype=jnp.float32)
        inside = jnp.isfinite(self.log_snrs[T])  # or else log-SNR is linear to T - 1 only
        rising = jnp.where(jnp.isfinite(self.log_snrs), -self.log_snrs, jnp.inf)
        last = jnp.where(inside, T, T - 1)
        t = jnp.interp(-log_snr, rising[1:], jnp.minimum(steps[1:], last))
        t = jnp.where(log_snr > self.log_snrs[1], jnp.exp((self.log_snrs[1] - log_snr) / 2), t)
        to_zero = T - jnp.exp((log_snr - self.log_snrs[T - 1]) / 2)
        return jnp.where(~inside & (log_snr < self.log_snrs[T - 1]), to_zero, t)

    def timestep(self, t: Array) -> Array:
        """Counted from 0 as in the original code."""
        return jnp.maximum(t - 1, 0)

    def initial_noise_std(self, t: Array) -> Array:
        return jnp.ones_like(t, jnp.float32)


def ddpm(betas: np.ndarray) -> DDPM:
    """The process with step variances beta_1 ... beta_T (Ho et al. 2020, eq. 2 and 4)."""
    # float64 until the end: the product of a thousand factors, and 1 - alpha_bar near t = 0
    alpha_bar = np.concatenate([[1.0], np.cumprod(1.0 - np.asarray(betas, np.float64))])
    with np.errstate(divide="ignore"):
        log_snr = np.log(alpha_bar) - np.log(1.0 - alpha_bar)
    return DDPM(
        alphas=jnp.asarray(np.sqrt(alpha_bar), jnp.float32),
        sigmas=jnp.asarray(np.sqrt(1.0 - alpha_bar), jnp.float32),
        log_snrs=jnp.asarray(log_snr, jnp.float32),
    )
