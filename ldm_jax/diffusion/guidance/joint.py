"""Several conditions of the same latents in one call of the network.

What a network computes before it uses a condition is then computed once, and its weights are read
once. The conditions of a latent are consecutive in the batch, so that all are on its device.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from ldm_jax.diffusion.denoiser import predict
from ldm_jax.diffusion.prediction import Prediction
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.types import Array, Cond, Denoise, Denoised, Process

# (z [B, h, w, c], t [B]) -> the denoised output under each of several conditions
Outputs = Callable[[Array, Array], Sequence[Denoised]]


def joint(
    network: Callable[[Array, Array, Cond], Array],
    conds: Sequence[Cond],
    process: Process,
    prediction: Prediction,
) -> Outputs:
    """The denoised outputs under all conditions, from one call.

    Args:
        network: (input [B, h, w, c], timestep [B], conditions [n B, ...]) -> raw output
            [n B, h, w, c or 2 c].
        conds: n conditions, each [B, ...] and with the same fields.
    """
    n, cond = len(conds), interleaved(conds)

    def denoise(z: Array, t: Array) -> list[Denoised]:
        output = predict(lambda x, time: network(x, time, cond), process, prediction, z, t)
        alpha_sigma = alpha_sigma_like(process, t, z)

        def nth(x, i):
            return None if x is None else x.reshape(-1, n, *x.shape[1:])[:, i]

        return [
            Denoised(
                prediction.x0(nth(output.raw, i), z, *alpha_sigma), nth(output.variance_fraction, i)
            )
            for i in range(n)
        ]

    return denoise


def apart(*denoisers: Denoise) -> Outputs:
    """Each denoiser by itself."""
    return lambda z, t: [denoise(z, t) for denoise in denoisers]


def interleaved(conds: Sequence[Cond]) -> Cond:
    """n conditions of B latents as one of n B, ordered by latent."""

    def one(*each):
        return jnp.stack(each, axis=1).reshape(-1, *each[0].shape[1:])

    return conds[0].each(one, *conds[1:])
