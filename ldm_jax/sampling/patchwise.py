"""Latents of any size, denoised patch by patch (the original's patch-distributed sampling).

For a network whose memory, or whose attention, follows the size of what it sees. At every step it
sees overlapping patches, all of them in one batch, and its outputs are blended with the original's
weights, which fall towards the border of a patch. Attention and norms see one patch at a time.
"""

import jax.numpy as jnp
import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.nn.repeat import repeated
from ldm_jax.types import Array, Cond, DiffusionModel

LEAST, MOST = 0.01, 0.5  # of a weight, the original's clip_min_weight and clip_max_weight


def patchwise(model: DiffusionModel, patch: int, stride: int | None = None) -> DiffusionModel:
    """The same model, whose network sees `patch` x `patch` latents at a time.

    What stands beside the latents is cut like them; tokens and vectors are those of every patch.

    Args:
        stride: latents from one patch to the next; None: half a patch, the original's. The last
            patch of a row or column ends at the border, so that all latents are covered.
    """
    stride = max(1, patch // 2) if stride is None else stride

    def denoise(params, z: Array, timestep: Array, cond: Cond) -> Array:
        z, timestep = (repeated(x, cond.count or len(z)) for x in (z, timestep))
        B, h, w, _ = z.shape
        height, width = min(patch, h), min(patch, w)
        places = [(y, x) for y in starts(h, height, stride) for x in starts(w, width, stride)]
        n = len(places)

        def cut(x: Array) -> Array:  # [B, h, w, k] -> [B n, height, width, k]
            parts = [x[:, top : top + height, left : left + width] for top, left in places]
            return jnp.stack(parts, axis=1).reshape(B * n, height, width, x.shape[-1])

        if cond.added or cond.hints:
            raise InputError("--patch is given: expected no adapter, which is of whole images")
        concat = None if cond.concat is None else cut(cond.concat)
        of_patches = cond.replace(concat=None).each(lambda x: jnp.repeat(x, n, axis=0))
        of_patches = of_patches.replace(concat=concat)
        raw = model.denoise(params, cut(z), jnp.repeat(timestep, n), of_patches)
        raw = raw.reshape(B, n, height, width, raw.shape[-1])
        weight = weights(height, width)[..., None]
        total, norm = jnp.zeros((B, h, w, raw.shape[-1])), np.zeros((h, w, 1), np.float32)
        for i, (top, left) in enumerate(places):
            window = np.s_[top : top + height, left : left + width]
            total = total.at[:, *window].add(weight * raw[:, i])
            norm[window] += weight
        return total / norm

    return model._replace(denoise=denoise)


def starts(length: int, patch: int, stride: int) -> list[int]:
    """Where patches begin along one axis, 0 ... length - patch."""
    return [*range(0, length - patch, stride), length - patch]


def weights(height: int, width: int) -> np.ndarray:
    """How much each place of a patch counts, [height, width] float32.

    Its distance to the nearest border, where the patch is 1 wide and high, within LEAST and MOST.
    """
    y, x = (np.arange(n, dtype=np.float32) / max(n - 1, 1) for n in (height, width))
    away = np.minimum(np.minimum(y, 1 - y)[:, None], np.minimum(x, 1 - x)[None, :])
    return np.clip(away, LEAST, MOST).astype(np.float32)
