"""Guidance: functions from denoisers to denoisers."""

from ldm_jax.types import Array, Denoise, Denoised


def classifier_free(conditional: Denoise, unconditional: Denoise, scale: Array) -> Denoise:
    """Classifier-free guidance (Ho and Salimans 2022, eq. 6, with scale = 1 + w).

    The paper extrapolates the noise; x0 is an affine function of it at fixed z and t, so
    extrapolating x0 is the same.

    Args:
        scale: scalar; 1 leaves the conditional denoiser as it is.
    """

    def denoise(z: Array, t: Array) -> Denoised:
        with_condition, without = conditional(z, t), unconditional(z, t)
        x0 = without.x0 + scale * (with_condition.x0 - without.x0)
        return with_condition._replace(x0=x0)

    return denoise
