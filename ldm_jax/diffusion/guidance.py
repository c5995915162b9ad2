"""Guidance: functions from denoisers to denoisers."""

import jax

from ldm_jax.types import Array, Denoise, Denoised


def classifier_free(conditional: Denoise, unconditional: Denoise, scale: Array) -> Denoise:
    """Classifier-free guidance (Ho and Salimans 2022, eq. 6, with scale = 1 + w).

    The paper extrapolates the noise; x0 is an affine function of it at fixed z and t, so
    extrapolating x0 is the same.

    Args:
        scale: scalar; 1 leaves the conditional denoiser as it is, and does not pay for the other.
    """

    def denoise(z: Array, t: Array) -> Denoised:
        told = conditional(z, t)

        def extrapolate():
            untold = unconditional(z, t).x0
            return untold + scale * (told.x0 - untold)

        return told._replace(x0=jax.lax.cond(scale == 1.0, lambda: told.x0, extrapolate))

    return denoise
