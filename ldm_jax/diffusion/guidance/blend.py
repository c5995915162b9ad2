"""Inpainting by blending: what is known stays (Rombach et al. 2022, section 4.5, without training
for it; Song et al. 2021, appendix I.2)."""

from ldm_jax.types import Array, Denoise, Denoised


def blend(denoise: Denoise, known: Array, mask: Array) -> Denoise:
    """A denoiser that knows x0 where the mask is 0.

    A sampler then keeps the known places on their way from their own noise to their own data.

    Args:
        known: [B, h, w, c] clean data.
        mask: [B, h, w, 1], 1 where data are to be made, 0 where they are known, or between.
    """

    def blended(z: Array, t: Array) -> Denoised:
        answer = denoise(z, t)
        return answer._replace(x0=mask * answer.x0 + (1.0 - mask) * known)

    return blended
