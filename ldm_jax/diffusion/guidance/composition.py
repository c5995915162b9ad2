"""Several conditions at once (Liu et al. 2022, eq. 11)."""

from collections.abc import Sequence

from ldm_jax.diffusion.guidance.joint import Outputs
from ldm_jax.types import Array, Denoise, Denoised


def composition(outputs: Outputs, scales: Sequence[Array | float]) -> Denoise:
    """x0 = uncond + sum_i scale_i (cond_i - uncond).

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
