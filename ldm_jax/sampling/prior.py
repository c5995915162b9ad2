"""Images from the prior of a variational autoencoder, and interpolations between them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.autoencoders.latents import scaled
from ldm_jax.sampling.interpolation import slerp
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


def interpolated(seed: int, rows: int, steps: int, shape: tuple[int, ...]) -> Array:
    """Latents [rows * steps, *shape]: row r leads from seed + 2 r to seed + 2 r + 1, both shown."""
    ends = normal(seed + np.arange(2 * rows), shape)
    a, b = jnp.repeat(ends[::2], steps, axis=0), jnp.repeat(ends[1::2], steps, axis=0)
    return slerp(a, b, jnp.tile(jnp.linspace(0.0, 1.0, steps), rows))
