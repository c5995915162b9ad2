"""The likelihood by the probability flow (Song et al. 2021, section 4.3 and appendix D.2).

The flow dz = x0 d alpha + eps d sigma, with the denoiser's x0 and eps, maps data to noise
deterministically: the density of data is the density of the noise times the change of volume.
"""

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.diffusion.process import alpha_sigma_like, log_snr
from ldm_jax.types import Array, Denoise, Process


def log_likelihood(
    denoise: Denoise, process: Process, times: Array, x0: Array, keys: Array, probes: int = 1
) -> Array:
    """log p(x0) in nats, [B], by Heun's method; its error falls with the square of the step.

    Args:
        times: [K + 1] increasing from more than 0 to T, such as `flow_times`. At the first, z is
            taken to be alpha x0.
        x0: [B, h, w, c].
        keys: [B] one key an example, for the estimate of the divergence (Hutchinson 1989).
        probes: random directions to average over; each costs two forward and two backward passes a
            step.
    """
    directions = jax.vmap(
        lambda key: jax.random.rademacher(key, (probes, *x0.shape[1:]), x0.dtype), out_axes=1
    )(keys)  # [probes, B, h, w, c]

    def flow(z, t, d_alpha, d_sigma):
        """The step dz of the flow as alpha and sigma change, and its divergence [B]."""

        def dz(z):
            clean = denoise(z, t).x0
            return clean * d_alpha + noise_of(clean, z, *alpha_sigma_like(process, t, z)) * d_sigma

        def along(direction):
            # backwards: kernels of attention and convolution have no forward derivative
            step, pull = jax.vjp(dz, z)
            (change,) = pull(direction)
            return step, jnp.sum(direction * change, axis=tuple(range(1, z.ndim)))

        steps, divergences = jax.lax.map(along, directions)
        return steps[0], jnp.mean(divergences, axis=0)

    def step(carry, pair):
        z, volume = carry
        t, s = (jnp.full(len(x0), time) for time in pair)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = (
            alpha_sigma_like(process, t, z),
            alpha_sigma_like(process, s, z),
        )
        d_alpha, d_sigma = alpha_s - alpha_t, sigma_s - sigma_t
        step_t, divergence_t = flow(z, t, d_alpha, d_sigma)
        step_s, divergence_s = flow(z + step_t, s, d_alpha, d_sigma)
        return (z + (step_t + step_s) / 2, volume + (divergence_t + divergence_s) / 2), None

    alpha, _ = process.alpha_sigma(times[0])
    D = x0[0].size
    start = (alpha * x0, jnp.full(len(x0), D * jnp.log(alpha)))
    (z, volume), _ = jax.lax.scan(step, start, (times[:-1], times[1:]))
    std = process.initial_noise_std(times[-1])
    square = jnp.sum(jnp.square(z / std), axis=tuple(range(1, z.ndim)))
    return volume - 0.5 * (square + D * jnp.log(2.0 * jnp.pi * jnp.square(std)))


def bits_per_dim(log_likelihood: Array, x0: Array) -> Array:
    """-log2 p(x0) a dimension, [B]."""
    return -log_likelihood / (x0[0].size * jnp.log(2.0))


def flow_times(
    process: Process, K: int, first: Array | float, last_log_snr: float = -12.0
) -> Array:
    """K + 1 times from `first` to T, evenly spaced in log-SNR, [K + 1] float32.

    Where z_T does not depend on the data, log-SNR is infinite at T: the last step then goes from
    `last_log_snr` to T.
    """
    T = jnp.array(float(process.T))
    high, low = log_snr(process, jnp.array(first)), log_snr(process, T)
    ends = jnp.maximum(low, last_log_snr)
    count = jnp.where(low < last_log_snr, K - 1, K)
    k = jnp.minimum(jnp.arange(K + 1.0), count)
    times = process.time_at(high + (ends - high) * k / count)
    return times.at[0].set(first).at[-1].set(T)
