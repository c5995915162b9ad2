"""Classifier-free guidance (Ho and Salimans 2022)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.guidance.joint import Outputs
from ldm_jax.diffusion.guidance.scale import Scale
from ldm_jax.types import Array, Denoise, Denoised

# (guided x0, conditional x0, z, t) -> x0
Adjust = Callable[[Array, Array, Array, Array], Array]


def classifier_free(
    conditional: Denoise, both: Outputs, scale: Scale, adjust: Adjust | None = None
) -> Denoise:
    """Extrapolates from the unconditional x0 past the conditional one (eq. 6, scale = 1 + w).

    The paper extrapolates the noise; x0 is an affine function of it at fixed z and t, so
    extrapolating x0 is the same. A learned variance stays that of the conditional output.

    Args:
        both: (unconditional or with a negative prompt, conditional) outputs, see `joint.py`.
        scale: see `scale.py`; where it is 1, the conditional denoiser alone is evaluated.
        adjust: applied to the guided x0, such as `rescale`.
    """

    def denoise(z: Array, t: Array) -> Denoised:
        s = scale(t).reshape(-1, 1, 1, 1)

        def extrapolate():
            base, conditioned = both(z, t)
            x0 = base.x0 + s * (conditioned.x0 - base.x0)
            x0 = adjust(x0, conditioned.x0, z, t) if adjust else x0
            return conditioned._replace(x0=jnp.where(s == 1.0, conditioned.x0, x0))

        return jax.lax.cond(jnp.all(s == 1.0), lambda: conditional(z, t), extrapolate)

    return denoise
