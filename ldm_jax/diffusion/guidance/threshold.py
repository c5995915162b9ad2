"""Static and dynamic thresholding of predicted x0 (Saharia et al. 2022, section 2.3)."""

import jax.numpy as jnp

from ldm_jax.types import Array, Denoise, Denoised


def threshold(denoise: Denoise, limit: Array | float, percentile: float = 0.995) -> Denoise:
    """Scales x0 down where more than a few of its values leave -limit ... limit.

    With s the percentile of an example's |x0|: where s > limit, x0 is clipped to -s ... s and
    multiplied with limit / s.

    Args:
        limit: 1 for pixels; some standard deviations for latents; inf changes nothing.
        percentile: as a fraction.
    """

    def thresholded(z: Array, t: Array) -> Denoised:
        output = denoise(z, t)
        axes = tuple(range(1, z.ndim))
        s = jnp.quantile(jnp.abs(output.x0), percentile, axis=axes, keepdims=True)
        clipped = jnp.clip(output.x0, -s, s) * (limit / s)
        return output._replace(x0=jnp.where(s > limit, clipped, output.x0))

    return thresholded


def clipped(denoise: Denoise, low: Array, high: Array) -> Denoise:
    """Clips x0 to the range of data (static thresholding), such as that of pixels."""

    def within(z: Array, t: Array) -> Denoised:
        output = denoise(z, t)
        return output._replace(x0=jnp.clip(output.x0, low, high))

    return within
