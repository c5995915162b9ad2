"""Several conditions at once (Liu et al. 2022, eq. 11)."""

from collections.abc import Sequence

from ldm_jax.diffusion.guidance.joint import Answers
from ldm_jax.types import Array, Denoise, Denoised


def composition(answers: Answers, scales: Sequence[Array | float]) -> Denoise:
    """The unconditional answer, and by how much each condition moves it, each with its scale.

    A negative scale is for what there should not be. One condition is classifier-free guidance.

    Args:
        answers: without a condition, and then under each of n, see `joint.py`.
        scales: [n].
    """

    def denoise(z: Array, t: Array) -> Denoised:
        untold, *told = answers(z, t)
        moves = (scale * (one.x0 - untold.x0) for one, scale in zip(told, scales, strict=True))
        return untold._replace(x0=untold.x0 + sum(moves))

    return denoise
