"""The loop that every sampler shares."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ldm_jax.types import Array, Denoise, Process, Sampler


class Watch(NamedTuple):
    """Which of a walk's beliefs in x0 are kept: those of steps every, 2 every, ..., count every."""

    every: int
    count: int


def sample(
    sampler: Sampler,
    denoise: Denoise,
    process: Process,
    times: Array,
    z: Array,
    keys: Array,
    watch: Watch | None = None,
) -> Array | tuple[Array, Array]:
    """Walks z along the grid `times`.

    Args:
        times: [K + 1] decreasing; equal neighbours are skipped at no cost (see `times.pad`).
        z: [B, h, w, c] at times[0].
        keys: [B] one key an example; step k draws from fold_in(key, k).

    Returns:
        [B, h, w, c] at the last time; with `watch` also [count, B, h, w, c], the x0 that the
        denoiser expected at the beginning of each step that is watched (for samplers that ask it
        there whatever the time, as all do but for `repaint`).
    """

    times = jnp.asarray(times)
    every, count = watch or (1, 0)

    def walk(carry, k):
        def go(carry):
            z, state, seen = carry
            t, s = (jnp.full(z.shape[:1], times[i]) for i in (k, k + 1))
            step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, k)
            if watch is None:
                z, state = sampler.step(denoise, process, step_keys, z, t, s, state)
                return z, state, seen
            beliefs = []

            def watched(z, t):
                denoised = denoise(z, t)
                beliefs.append(denoised.x0)
                return denoised

            z, state = sampler.step(watched, process, step_keys, z, t, s, state)
            place = jnp.where((k + 1) % every == 0, (k + 1) // every - 1, count)
            return z, state, seen.at[place].set(beliefs[0], mode="drop")

        return jax.lax.cond(times[k] == times[k + 1], lambda carry: carry, go, carry), None

    seen = jnp.zeros((count, *z.shape), z.dtype)
    steps = jnp.arange(len(times) - 1)
    (z, _, seen), _ = jax.lax.scan(walk, (z, sampler.init(z), seen), steps)
    return z if watch is None else (z, seen)


def normal_like(keys: Array, x: Array) -> Array:
    """Standard normal numbers shaped like x [B, ...], each example from its own key of [B]."""
    return jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)
