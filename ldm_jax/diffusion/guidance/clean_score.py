"""Guidance by a score of clean data, such as CLIP's (Nichol et al. 2022, section 2.4; on the
predicted x0 as in Bansal et al. 2023, eq. 6)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.guidance.classifier import x0_of_score
from ldm_jax.types import Array, Denoise, Denoised, Process


def clean_score(
    denoise: Denoise, process: Process, score: Callable[[Array], Array], scale: Array | float
) -> Denoise:
    """Towards data with a higher score, by its gradient through the denoiser.

    The score need not be trained on noised data: it is evaluated at the predicted x0, and
    exp(scale * score(x0)) takes the role of p(y | z_t).

    Args:
        score: x0 [B, h, w, c] -> [B], each entry from its own example alone; differentiable.
    """

    def guided(z: Array, t: Array) -> Denoised:
        def total(z):
            output = denoise(z, t)
            return jnp.sum(score(output.x0)), output

        gradient, output = jax.grad(total, has_aux=True)(z)
        return output._replace(x0=output.x0 + scale * x0_of_score(process, gradient, t))

    return guided
