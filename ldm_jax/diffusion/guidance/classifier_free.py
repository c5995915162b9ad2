"""Classifier-free guidance (Ho and Salimans 2022)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.guidance.joint import Answers
from ldm_jax.diffusion.guidance.scale import Scale
from ldm_jax.types import Array, Denoise, Denoised

# (guided x0, conditional x0, z, t) -> x0
Adjust = Callable[[Array, Array, Array, Array], Array]


def classifier_free(
    conditional: Denoise, both: Answers, scale: Scale, adjust: Adjust | None = None
) -> Denoise:
    """Away from what is expected without the condition (eq. 6, with scale = 1 + w).

    The paper extrapolates the noise; x0 is an affine function of it at fixed z and t, so
    extrapolating x0 is the same. The variance, where it is learned, stays the conditional one's.

    Args:
        both: without the condition, or told what to stay away from (a negative prompt), and then
            with it, see `joint.py`.
        scale: see `scale.py`; where it is 1 the conditional denoiser is left as it is, and the
            other answer not paid for.
        adjust: what is done to the guided x0, such as `rescale`.
    """

    def denoise(z: Array, t: Array) -> Denoised:
        s = scale(t).reshape(-1, 1, 1, 1)

        def extrapolate():
            untold, told = both(z, t)
            x0 = untold.x0 + s * (told.x0 - untold.x0)
            x0 = adjust(x0, told.x0, z, t) if adjust else x0
            return told._replace(x0=jnp.where(s == 1.0, told.x0, x0))

        return jax.lax.cond(jnp.all(s == 1.0), lambda: conditional(z, t), extrapolate)

    return denoise
