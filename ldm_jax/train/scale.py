"""The latent scale factor (Rombach et al. 2022, appendix G): 1 / std of the latents."""

import itertools
from collections.abc import Iterable

import jax
import jax.numpy as jnp

from ldm_jax.types import Array, FirstStage, Params


def measure_scale(
    first_stage: FirstStage, params: Params, batches: Iterable[dict], key: Array, count: int = 20
) -> Array:
    """1 over the standard deviation of latents, over `count` batches; a scalar.

    Prints what it measured, and a warning where further batches, scaled so, are far from unit
    variance.
    """

    @jax.jit
    def moments(params, images, keys):
        z = first_stage.encode(params, images, keys)
        return jnp.stack([jnp.mean(z), jnp.mean(jnp.square(z))])

    def std(params, batches, key):
        rows = []
        for i, batch in enumerate(batches):
            keys = jax.random.split(jax.random.fold_in(key, i), len(batch["image"]))
            rows.append(moments(params, batch["image"], keys))
        mean, square = jnp.mean(jnp.stack(rows), axis=0)
        return jnp.sqrt(square - jnp.square(mean))

    batches = iter(batches)
    params = {**params, "scale": jnp.ones(())}
    scale = 1.0 / std(params, itertools.islice(batches, count), key)
    rest = itertools.islice(batches, max(1, count // 4))
    check = float(std({**params, "scale": scale}, rest, jax.random.fold_in(key, count)))
    print(f"latent scale factor {float(scale):.5f}; further latents scaled have std {check:.3f}")
    if not 0.9 <= check <= 1.1:
        print("warning: scaled latents should have a std between 0.9 and 1.1; train longer")
    return scale
