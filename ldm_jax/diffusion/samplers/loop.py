"""The loop that every sampler shares."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ldm_jax.types import Array, Denoise, Process, Sampler


class Watch(NamedTuple):
    """Which of a trajectory's predicted x0 are kept: of steps every, 2 every, ..., count every."""

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
    """Takes z along the trajectory over `times`.

    Args:
        times: [K + 1] decreasing; equal neighbours are skipped at no cost (see `spacing.pad`).
        z: [B, h, w, c] at times[0].
        keys: [B] one key an example; step k draws from fold_in(key, k).

    Returns:
        [B, h, w, c] at the last time; with `watch` also [count, B, h, w, c], the predicted x0 at
        the beginning of each watched step (for samplers that call the denoiser at the beginning of
        each step, as all do but `repaint`).
    """

    times = jnp.asarray(times)
    every, count = watch or (1, 0)

    def step(carry, k):
        def taken(carry):
            z, state, kept = carry
            z, state, x0 = _step(sampler, denoise, process, times, keys, k, z, state)
            if watch is None:
                return z, state, kept
            row = jnp.where((k + 1) % every == 0, (k + 1) // every - 1, count)
            return z, state, kept.at[row].set(x0, mode="drop")

        return jax.lax.cond(times[k] == times[k + 1], lambda carry: carry, taken, carry), None

    kept = jnp.zeros((count, *z.shape), z.dtype)
    steps = jnp.arange(len(times) - 1)
    (z, _, kept), _ = jax.lax.scan(step, (z, sampler.init(z), kept), steps)
    return z if watch is None else (z, kept)


def advance(
    sampler: Sampler, denoise: Denoise, process: Process, times: Array, keys: Array, part: Any
) -> Any:
    """Steps `first` to `last` - 1 of the same trajectory, which differ from each other.

    Args:
        part: (z, state, first, last), at first `sampler.init(z)` and 0.

    Returns:
        (z, state, x0), the predicted x0 [B, h, w, c] at the beginning of the last of them.
    """
    times, (z, state, first, last) = jnp.asarray(times), part

    def step(k, carry):
        return _step(sampler, denoise, process, times, keys, k, *carry[:2])

    return jax.lax.fori_loop(first, last, step, (z, state, jnp.zeros_like(z)))


def _step(
    sampler: Sampler,
    denoise: Denoise,
    process: Process,
    times: Array,
    keys: Array,
    k: Array,
    z: Array,
    state: Any,
) -> tuple[Array, Any, Array | None]:
    """Step k: z, the sampler's state, and the first predicted x0."""
    predicted = []

    def watched(z, t):
        denoised = denoise(z, t)
        predicted.append(denoised.x0)
        return denoised

    t, s = (jnp.full(z.shape[:1], times[i]) for i in (k, k + 1))
    step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, k)
    z, state = sampler.step(watched, process, step_keys, z, t, s, state)
    return z, state, predicted[0] if predicted else None


def normal_like(keys: Array, x: Array) -> Array:
    """Standard normal values shaped like x [B, ...], each example from its own key of [B]."""
    return jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)
