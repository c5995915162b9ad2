"""Several conditions of the same latents in one call of the network.

What a network computes before it meets a condition is then computed once, and its weights are read
once. Conditions of a latent lie one after the other, so that all are where their latent is.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from ldm_jax.diffusion.denoiser import ask
from ldm_jax.diffusion.prediction import Prediction
from ldm_jax.diffusion.process import rates_like
from ldm_jax.types import Array, Cond, Denoise, Denoised, Process

# (z [B, h, w, c], t [B]) -> what is expected under each of several conditions
Answers = Callable[[Array, Array], Sequence[Denoised]]


def joint(
    network: Callable[[Array, Array, Cond], Array],
    conds: Sequence[Cond],
    process: Process,
    prediction: Prediction,
) -> Answers:
    """As many denoisers as there are conditions, in one.

    Args:
        network: (input [B, h, w, c], timestep [B], conditions [n B, ...]) -> raw output
            [n B, h, w, c or 2 c].
        conds: n conditions, each [B, ...] and with the same fields.
    """
    n, cond = len(conds), interleaved(conds)

    def denoise(z: Array, t: Array) -> list[Denoised]:
        answer = ask(lambda x, time: network(x, time, cond), process, prediction, z, t)
        rates = rates_like(process, t, z)

        def nth(x, i):
            return None if x is None else x.reshape(-1, n, *x.shape[1:])[:, i]

        return [
            Denoised(prediction.x0(nth(answer.raw, i), z, *rates), nth(answer.variance_fraction, i))
            for i in range(n)
        ]

    return denoise


def apart(*denoisers: Denoise) -> Answers:
    """Each denoiser by itself."""
    return lambda z, t: [denoise(z, t) for denoise in denoisers]


def interleaved(conds: Sequence[Cond]) -> Cond:
    """n conditions of B latents as one of n B, those of the first latent first."""

    def one(*each):
        return jnp.stack(each, axis=1).reshape(-1, *each[0].shape[1:])

    return conds[0].each(one, *conds[1:])
