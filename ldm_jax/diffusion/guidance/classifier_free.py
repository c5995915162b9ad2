"""Classifier-free guidance (Ho and Salimans 2022), rescaled, and by several conditions."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.guidance.joint import Outputs
from ldm_jax.diffusion.guidance.scale import Scale
from ldm_jax.diffusion.prediction import Prediction, noise_of
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.types import Array, Denoise, Denoised, Process

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


def rescale(fraction: Array | float, process: Process, prediction: Prediction) -> Adjust:
    """Gives the guided output the standard deviation of the conditional one, which keeps colours
    (Lin et al. 2024, section 3.4).

    As there, the network's output (eps, v, ...) is rescaled, not x0.

    Args:
        fraction: phi of eq. 16, the share of the rescaled output; 0 changes nothing.
    """

    def adjust(guided: Array, conditional: Array, z: Array, t: Array) -> Array:
        alpha, sigma = alpha_sigma_like(process, t, z)

        def output(x0):
            return prediction.target(x0, noise_of(x0, z, alpha, sigma), alpha, sigma)

        def std(x):
            return jnp.std(x, axis=tuple(range(1, x.ndim)), keepdims=True)

        raw = output(guided)
        ratio = std(output(conditional)) / jnp.maximum(std(raw), jnp.finfo(raw.dtype).tiny)
        raw *= fraction * ratio + (1.0 - fraction)  # eq. 14 to 16
        return jnp.where(fraction == 0.0, guided, prediction.x0(raw, z, alpha, sigma))

    return adjust


def composition(outputs: Outputs, scales: Sequence[Array | float]) -> Denoise:
    """x0 = uncond + sum_i scale_i (cond_i - uncond) (Liu et al. 2022, eq. 11).

    A negative scale steers away from a condition. One condition is classifier-free guidance.

    Args:
        outputs: of the unconditional denoiser and then of n conditional ones, see `joint.py`.
        scales: [n].
    """

    def denoise(z: Array, t: Array) -> Denoised:
        base, *conditioned = outputs(z, t)
        moves = (scale * (c.x0 - base.x0) for c, scale in zip(conditioned, scales, strict=True))
        return base._replace(x0=base.x0 + sum(moves))

    return denoise
