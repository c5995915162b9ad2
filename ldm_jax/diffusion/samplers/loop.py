"""The loop that every sampler shares."""

import jax
import jax.numpy as jnp

from ldm_jax.types import Array, Denoise, Process, Sampler


def sample(
    sampler: Sampler, denoise: Denoise, process: Process, times: Array, z: Array, keys: Array
) -> Array:
    """Walks z along the grid `times`.

    Args:
        times: [K + 1] decreasing; equal neighbours are skipped at no cost (see `times.pad`).
        z: [B, h, w, c] at times[0].
        keys: [B] one key an example; step k draws from fold_in(key, k).

    Returns:
        [B, h, w, c] at the last time.
    """

    times = jnp.asarray(times)

    def walk(carry, k):
        def go(carry):
            z, state = carry
            t, s = (jnp.full(z.shape[:1], times[i]) for i in (k, k + 1))
            step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, k)
            return sampler.step(denoise, process, step_keys, z, t, s, state)

        return jax.lax.cond(times[k] == times[k + 1], lambda carry: carry, go, carry), None

    (z, _), _ = jax.lax.scan(walk, (z, sampler.init(z)), jnp.arange(len(times) - 1))
    return z


def normal_like(keys: Array, x: Array) -> Array:
    """Standard normal numbers shaped like x [B, ...], each example from its own key of [B]."""
    return jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)
