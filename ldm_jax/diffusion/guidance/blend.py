"""Inpainting without training for it: x0 is fixed where it is known (Rombach et al. 2022, section
4.5; Song et al. 2021, appendix I.2)."""

from ldm_jax.types import Array, Denoise, Denoised


def blend(denoise: Denoise, known: Array, mask: Array) -> Denoise:
    """A denoiser whose x0 is `known` where the mask is 0.

    A sampler then carries the known region from its own noise to its own data.

    Args:
        known: [B, h, w, c] clean data.
        mask: [B, h, w, 1], 1 in the inpainted region, 0 where x0 is known; values between blend.
    """

    def blended(z: Array, t: Array) -> Denoised:
        output = denoise(z, t)
        return output._replace(x0=mask * output.x0 + (1.0 - mask) * known)

    return blended
