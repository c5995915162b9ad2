"""At which times a denoiser is trained; each is a function of keys [B], one time an example."""

import jax
import jax.numpy as jnp

from ldm_jax.types import Array, Process


def uniform(keys: Array, process: Process) -> Array:
    """Equally often at all times in (0, T], [B]."""
    u = jax.vmap(jax.random.uniform)(keys)
    return process.T * jnp.maximum(u, jnp.finfo(u.dtype).eps)  # never 0, which is data


def cubic(keys: Array, process: Process) -> Array:
    """t / T = 1 - u^3 with u uniform in [0, 1): late times, of much noise, more often (Mou et al.
    2023, section 3.4), [B]."""
    u = jax.vmap(jax.random.uniform)(keys)
    return process.T * (1.0 - u**3)


def logit_normal(keys: Array, process: Process, mean: float, std: float) -> Array:
    """t / T = sigmoid(n) with n ~ N(mean, std^2) (Esser et al. 2024, eq. 19), [B]."""
    return process.T * jax.nn.sigmoid(mean + std * jax.vmap(jax.random.normal)(keys))


def log_normal(keys: Array, process: Process, mean: float, std: float) -> Array:
    """log(sigma / alpha) ~ N(mean, std^2) (Karras et al. 2022, table 1), [B]."""
    log_ratio = mean + std * jax.vmap(jax.random.normal)(keys)
    return process.time_at(-2.0 * log_ratio)


def whole(t: Array, process: Process) -> Array:
    """The next whole time, 1 ... T, int32: each gets what was drawn since the one before it."""
    return jnp.clip(jnp.ceil(t), 1, process.T).astype(jnp.int32)
