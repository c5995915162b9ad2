"""Vector quantisation: rounding to a codebook, and how the codes learn (van den Oord et al. 2017).

Use is counted in shares of equal use: 1 for a code that takes its part, 0 for one that is dead.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ldm_jax.types import Array, Params


def init_codebook(key: Array, size: int, dim: int) -> Array:
    """Codes [size, dim], uniform in +-1 / size as the original's."""
    return jax.random.uniform(key, (size, dim), minval=-1.0 / size, maxval=1.0 / size)


def codes_of(z: Array, codebook: Array) -> Array:
    """The nearest code of each latent (eq. 1): z [..., c], codebook [n, c] -> [...] int32."""
    # |z - e|^2 without |z|^2, which is the same for every code
    distances = jnp.sum(jnp.square(codebook), axis=-1) - 2.0 * jnp.matmul(
        z, codebook.T, precision="highest"
    )
    return jnp.argmin(distances, axis=-1)


def straight_through(z: Array, codebook: Array) -> tuple[Array, Array, dict[str, Array]]:
    """Rounded latents whose gradient passes to z as it is (section 3.2).

    Args:
        z: [B, h, w, c].
        codebook: [n, c].

    Returns:
        rounded [B, h, w, c]; codes [B, h, w]; and two means over each example, [B]: "commitment",
        |z - sg[e]|^2, moves the latents, and "codebook", |sg[z] - e|^2, the codes (eq. 3).
    """
    codes = codes_of(z, codebook)
    e = codebook[codes]
    still = jax.lax.stop_gradient
    terms = {
        "commitment": jnp.mean(jnp.square(z - still(e)), axis=(1, 2, 3)),
        "codebook": jnp.mean(jnp.square(still(z) - e), axis=(1, 2, 3)),
    }
    return z + still(e - z), codes, terms


def new_statistics(codebook: Array) -> Params:
    """{"use" [n], "sum" [n, c]} as if every code took its part, and all of it were at the code."""
    return {"use": jnp.ones(len(codebook)), "sum": jnp.copy(codebook)}


def batch_statistics(z: Array, codes: Array, size: int) -> Params:
    """{"use" [size], "sum" [size, c]} of one batch: how often, and the latents' sum, in shares."""
    z, codes = jax.lax.stop_gradient(z).reshape(-1, z.shape[-1]), codes.reshape(-1)
    share = size / len(codes)
    return {
        "use": jnp.zeros(size).at[codes].add(share),
        "sum": jnp.zeros((size, z.shape[-1])).at[codes].add(share * z),
    }


def perplexity(use: Array) -> Array:
    """exp of the entropy of the codes' use, 1 ... n."""
    p = use / jnp.sum(use)
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(p, p)))


def moving(decay: float, statistics: Params, batch: Params) -> Params:
    """The moving averages after one more batch (appendix A.1, eq. 6 and 7)."""
    return jax.tree.map(lambda mean, new: decay * mean + (1.0 - decay) * new, statistics, batch)


def means(statistics: Params, epsilon: float = 1e-5) -> Array:
    """The codes as moving means, [n, c] (eq. 8), the use smoothed so that none is divided by 0."""
    use = statistics["use"]
    n = len(use)
    smoothed = (use + epsilon) / (jnp.sum(use) + n * epsilon) * jnp.sum(use)
    return statistics["sum"] / smoothed[:, None]


def candidates(
    key: Array, z: Array, position: Array, count: int, average: Callable[[Array], Array]
) -> Array:
    """`count` latents of the global batch, [count, c], the same on every device.

    Args:
        z: this device's latents, [B, h, w, c].
        position: [B], of each example in the global batch.
        average: over the devices.
    """
    z = jax.lax.stop_gradient(z).reshape(len(z), -1, z.shape[-1])
    total = 2.0 * average(jnp.mean(position.astype(jnp.float32))) + 1.0  # mean of 0 ... total - 1
    example_key, place_key = jax.random.split(key)
    example = jnp.floor(total * jax.random.uniform(example_key, (count,))).astype(jnp.int32)
    place = jax.random.randint(place_key, (count,), 0, z.shape[1])
    here = (example[:, None] == position).astype(z.dtype)  # [count, B]: one 1 over all devices
    local = jnp.argmax(here, axis=1)
    found = jnp.max(here, axis=1)  # [count]
    share = average(found)
    return average(z[local, place] * found[:, None]) / share[:, None]


def revive(
    codebook: Array, statistics: Params, latents: Array, below: float
) -> tuple[Array, Params]:
    """Codes used less than `below` of equal use move to latents (Dhariwal et al. 2020, sec. 3.1).

    Args:
        latents: [n, c], one for each code that may need it.
    """
    dead = statistics["use"] < below
    codebook = jnp.where(dead[:, None], latents, codebook)
    use = jnp.where(dead, 1.0, statistics["use"])
    sums = jnp.where(dead[:, None], latents, statistics["sum"])
    return codebook, {"use": use, "sum": sums}
