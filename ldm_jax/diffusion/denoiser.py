"""From a network's raw output to a denoiser (z, t) -> x0, which is all that samplers see."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from ldm_jax.diffusion.prediction import Prediction
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.types import Array, Denoise, Denoised, Process

Network = Callable[[Array, Array], Array]  # (input, timestep [B]) -> raw output


class Output(NamedTuple):
    """A network's output for z_t, split into its parts."""

    raw: Array  # [B, h, w, c], see `prediction.py`
    variance_fraction: Array | None  # [B, h, w, c], see `Denoised`


def predict(
    network: Network, process: Process, prediction: Prediction, z: Array, t: Array
) -> Output:
    """The network's output for z at time t.

    A network with twice the channels of z has learned its variance: the second half of its output,
    in -1 ... 1, interpolates between two bounds (Nichol and Dhariwal 2021, eq. 15).
    """
    alpha, sigma = alpha_sigma_like(process, t, z)
    raw = network(prediction.scale(alpha, sigma) * z, process.timestep(t))
    if raw.shape[-1] == z.shape[-1]:
        return Output(raw, None)
    raw, variance = jnp.split(raw, 2, axis=-1)
    return Output(raw, (variance + 1.0) / 2.0)


def denoiser(network: Network, process: Process, prediction: Prediction) -> Denoise:
    """Wraps (input, timestep) -> raw output into (z, t) -> Denoised."""

    def denoise(z: Array, t: Array) -> Denoised:
        raw, fraction = predict(network, process, prediction, z, t)
        return Denoised(prediction.x0(raw, z, *alpha_sigma_like(process, t, z)), fraction)

    return denoise
