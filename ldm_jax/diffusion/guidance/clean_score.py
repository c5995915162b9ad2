"""Guidance by anything that judges clean data, such as CLIP (Nichol et al. 2022, section 2.4; on
the denoised data as in Bansal et al. 2023, eq. 6)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.guidance.classifier import x0_of_score
from ldm_jax.types import Array, Denoise, Denoised, Process


def clean_score(
    denoise: Denoise, process: Process, score: Callable[[Array], Array], scale: Array | float
) -> Denoise:
    """Towards data with a higher score, by its gradient through the denoiser.

    The judge needs to know nothing of noise: it sees the x0 expected behind z, and
    exp(scale * score(x0)) stands for p(y | z_t).

    Args:
        score: x0 [B, h, w, c] -> [B], each of its own example alone; differentiable.
    """

    def guided(z: Array, t: Array) -> Denoised:
        def total(z):
            answer = denoise(z, t)
            return jnp.sum(score(answer.x0)), answer

        gradient, answer = jax.grad(total, has_aux=True)(z)
        return answer._replace(x0=answer.x0 + scale * x0_of_score(process, gradient, t))

    return guided
