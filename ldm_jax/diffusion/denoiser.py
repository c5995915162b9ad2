"""From a network's raw output to a denoiser, the one thing that samplers see."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from ldm_jax.diffusion.prediction import Prediction
from ldm_jax.diffusion.process import rates_like
from ldm_jax.types import Array, Denoise, Denoised, Process

Network = Callable[[Array, Array], Array]  # (input, network time [B]) -> raw output


class Answer(NamedTuple):
    """What a network says about z_t, before it is understood."""

    raw: Array  # [B, h, w, c], see `prediction.py`
    variance_fraction: Array | None  # [B, h, w, c], see `Denoised`


def ask(network: Network, process: Process, prediction: Prediction, z: Array, t: Array) -> Answer:
    """The network's answer about z at time t.

    A network with twice the channels of z has learned its variance: the second half, from -1 to 1,
    says where it lies (Nichol and Dhariwal 2021, eq. 15, in the range of their code).
    """
    alpha, sigma = rates_like(process, t, z)
    raw = network(prediction.scale(alpha, sigma) * z, process.timestep(t))
    if raw.shape[-1] == z.shape[-1]:
        return Answer(raw, None)
    raw, variance = jnp.split(raw, 2, axis=-1)
    return Answer(raw, (variance + 1.0) / 2.0)


def denoiser(network: Network, process: Process, prediction: Prediction) -> Denoise:
    """Wraps (input, network time) -> raw output into (z, t) -> Denoised."""

    def denoise(z: Array, t: Array) -> Denoised:
        raw, fraction = ask(network, process, prediction, z, t)
        return Denoised(prediction.x0(raw, z, *rates_like(process, t, z)), fraction)

    return denoise
