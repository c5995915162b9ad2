"""Several conditions at once (Liu et al. 2022, eq. 11)."""

from collections.abc import Sequence

from ldm_jax.types import Array, Denoise, Denoised


def composition(
    unconditional: Denoise, conditionals: Sequence[Denoise], scales: Sequence[Array | float]
) -> Denoise:
    """The unconditional answer, and by how much each condition moves it, each with its scale.

    A negative scale is for what there should not be. One condition is classifier-free guidance.
    """

    def denoise(z: Array, t: Array) -> Denoised:
        untold = unconditional(z, t)
        moves = (
            scale * (told(z, t).x0 - untold.x0)
            for told, scale in zip(conditionals, scales, strict=True)
        )
        return untold._replace(x0=untold.x0 + sum(moves))

    return denoise
