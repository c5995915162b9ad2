"""Pictures from the prior of a variational autoencoder, and walks between them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.autoencoders.latents import scaled
from ldm_jax.types import Array, FirstStage, Params


def make_draw(first_stage: FirstStage) -> Callable[[Params, Array], Array]:
    """A compiled function (params, z [B, h, w, c] as the prior N(0, I) gives it) -> images."""

    def draw(params: Params, z: Array) -> Array:
        return jnp.clip(first_stage.decode(params, scaled(params, z)), -1.0, 1.0)

    return jax.jit(draw)


def normal(seeds: np.ndarray, shape: tuple[int, ...]) -> Array:
    """Standard normal latents [N, *shape]; each follows from its own seed alone."""
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


def slerp(a: Array, b: Array, w: Array) -> Array:
    """Spherical interpolation (Shoemake 1985), [N, *shape] from a at w = 0 to b at w = 1.

    (sin((1 - w) angle) a + sin(w angle) b) / sin(angle), with the angle between a and b. Gaussian
    latents lie near a sphere; a straight line between two of them passes where hardly any lie.

    Args:
        a, b: [N, *shape], neither zero nor opposite.
        w: [N].
    """
    axes = tuple(range(1, a.ndim))
    w = jnp.reshape(w, (-1,) + (1,) * len(axes))

    def norm(x):
        return jnp.sqrt(jnp.sum(jnp.square(x), axes, keepdims=True))

    u, v = a / norm(a), b / norm(b)
    angle = 2.0 * jnp.arctan2(norm(u - v), norm(u + v))  # exact for small angles, too
    sine = jnp.sin(angle)
    straight = sine < 1e-6  # where both formulas are the same, and this one is 0 / 0
    sine = jnp.where(straight, 1.0, sine)
    first = jnp.where(straight, 1.0 - w, jnp.sin((1.0 - w) * angle) / sine)
    second = jnp.where(straight, w, jnp.sin(w * angle) / sine)
    return first * a + second * b


def walks(seed: int, rows: int, steps: int, shape: tuple[int, ...]) -> Array:
    """Latents [rows * steps, *shape]: row r leads from seed + 2 r to seed + 2 r + 1, both shown."""
    ends = normal(seed + np.arange(2 * rows), shape)
    a, b = jnp.repeat(ends[::2], steps, axis=0), jnp.repeat(ends[1::2], steps, axis=0)
    return slerp(a, b, jnp.tile(jnp.linspace(0.0, 1.0, steps), rows))
