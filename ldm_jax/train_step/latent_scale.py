"""The scale of latents, measured on the images that the second stage is about to learn."""

import itertools
from collections.abc import Iterable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.autoencoders.latents import unit
from ldm_jax.types import Array, FirstStage, Params


def measure_scale(
    first_stage: FirstStage,
    params: Params,
    batches: Iterable[dict],
    key: Array,
    kind: Literal["one", "channels"] = "one",
    count: int = 20,
) -> Params:
    """{"shift", "scale"}, each [c], under which the latents of `count` batches have unit variance.

    Prints what it measured, and a warning where further batches, scaled so, are far from unit
    variance.

    Args:
        kind: "one": no shift, and 1 / std of all latents about their mean (Rombach et al. 2022,
            appendix G); "channels": each channel's mean, and 1 / its std.

    Raises:
        FloatingPointError: latents that do not vary, or are not numbers.
    """

    @jax.jit
    def moments(params, images, keys):
        z = first_stage.encode(params, images, keys)
        return jnp.stack([jnp.mean(z, (0, 1, 2)), jnp.mean(jnp.square(z), (0, 1, 2))])

    def statistics(params, batches, key):
        """Mean and variance, [c] or over all channels []."""
        rows = []
        for i, batch in enumerate(batches):
            keys = jax.random.split(jax.random.fold_in(key, i), len(batch["image"]))
            rows.append(moments(params, batch["image"], keys))
        mean, square = np.mean(np.asarray(jax.device_get(rows), np.float64), axis=0)
        if kind == "one":
            mean, square = mean.mean(), square.mean()
        return mean, square - np.square(mean)

    batches = iter(batches)
    params = {**params, **unit(first_stage.channels)}
    mean, variance = statistics(params, itertools.islice(batches, count), key)
    if not np.all(variance > 1e-6):  # false where it is not a number, too
        raise FloatingPointError(
            f"the latents' variance is {variance}: expected more than 1e-6 everywhere; "
            "the first stage has collapsed, train it again with a lower optim.lr"
        )
    shape = (first_stage.channels,)
    found = {
        "shift": jnp.broadcast_to(jnp.float32(mean if kind == "channels" else 0.0), shape),
        "scale": jnp.broadcast_to(jnp.float32(variance**-0.5), shape),
    }
    rest = itertools.islice(batches, max(1, count // 4))
    _, variance = statistics({**params, **found}, rest, jax.random.fold_in(key, count))
    std = float(np.sqrt(np.mean(variance)))
    scales = ", ".join(f"{x:.5f}" for x in np.unique(found["scale"]))
    print(f"latent scale factor {scales}; further latents scaled have std {std:.3f}")
    if not 0.9 <= std <= 1.1:
        print("warning: scaled latents should have a std between 0.9 and 1.1: the data drifts")
    return found
