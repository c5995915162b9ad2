"""Classifier-free guidance (Ho and Salimans 2022)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.guidance.scale import Scale
from ldm_jax.types import Array, Denoise, Denoised

# (guided x0, conditional x0, z, t) -> x0
Adjust = Callable[[Array, Array, Array, Array], Array]


def classifier_free(
    conditional: Denoise, unconditional: Denoise, scale: Scale, adjust: Adjust | None = None
) -> Denoise:
    """Away from what is expected without the condition (eq. 6, with scale = 1 + w).

    The paper extrapolates the noise; x0 is an affine function of it at fixed z and t, so
    extrapolating x0 is the same. The variance, where it is learned, stays the conditional one's.

    Args:
        unconditional: told nothing, or what to stay away from (a negative prompt).
        scale: see `scale.py`; where it is 1 the conditional denoiser is left as it is, and the
            other one not paid for.
        adjust: what is done to the guided x0, such as `rescale`.
    """

    def denoise(z: Array, t: Array) -> Denoised:
        told, s = conditional(z, t), scale(t).reshape(-1, 1, 1, 1)

        def extrapolate():
            untold = unconditional(z, t).x0
            x0 = untold + s * (told.x0 - untold)
            x0 = adjust(x0, told.x0, z, t) if adjust else x0
            return jnp.where(s == 1.0, told.x0, x0)

        x0 = jax.lax.cond(jnp.all(s == 1.0), lambda: told.x0, extrapolate)
        return told._replace(x0=x0)

    return denoise
