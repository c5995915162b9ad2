"""Loss-aware importance sampling of times (Nichol and Dhariwal 2021, section 3.3).

Times with large losses are drawn more often, and their losses are divided by the probability: the
expected loss is unchanged, and its variance falls.
"""

import jax
import jax.numpy as jnp

from ldm_jax.types import Array, Params


def empty(T: int, length: int = 10) -> Params:
    """The history before the first step.

    losses: [T, length] the last losses at every whole time 1 ... T, oldest first
    counts: [T] int32, how many of them there have been, at most `length`
    """
    return {"losses": jnp.zeros((T, length)), "counts": jnp.zeros(T, jnp.int32)}


def probabilities(history: Params, uniform: float = 0.001) -> Array:
    """Of t = 1 ... T, [T]: as the root of the mean squared loss; equal until all are known.

    Args:
        uniform: this share of the draws is uniform over all times.
    """
    T, length = history["losses"].shape
    size = jnp.sqrt(jnp.mean(jnp.square(history["losses"]), axis=1))
    p = (1.0 - uniform) * size / jnp.sum(size) + uniform / T
    return jnp.where(jnp.all(history["counts"] == length), p, 1.0 / T)


def draw(keys: Array, history: Params) -> tuple[Array, Array]:
    """Times [B] in 1 ... T, int32, and the weights 1 / (T p_t) [B] that keep losses unbiased."""
    p = probabilities(history)
    i = jax.vmap(lambda key: jax.random.categorical(key, jnp.log(p)))(keys)
    return 1 + i.astype(jnp.int32), 1.0 / (len(p) * p[i])


def remember(history: Params, t: Array, losses: Array) -> Params:
    """The history with the unweighted losses [B] at times [B] appended, in that order."""

    def one(n, history):
        i, length = t[n] - 1, history["losses"].shape[1]
        row, count = history["losses"][i], history["counts"][i]
        row = jnp.where(count == length, jnp.roll(row, -1), row)
        row = row.at[jnp.minimum(count, length - 1)].set(losses[n])
        count = jnp.minimum(count + 1, length)
        return {
            "losses": history["losses"].at[i].set(row),
            "counts": history["counts"].at[i].set(count),
        }

    return jax.lax.fori_loop(0, len(t), one, history)
