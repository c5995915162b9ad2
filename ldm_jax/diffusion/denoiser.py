"""From a network's raw output to a denoiser, the one thing that samplers see."""

from collections.abc import Callable

from ldm_jax.diffusion.prediction import Prediction
from ldm_jax.diffusion.process import network_time, rates_like
from ldm_jax.types import Array, Denoise, Denoised, Process


def denoiser(
    network: Callable[[Array, Array], Array], process: Process, prediction: Prediction
) -> Denoise:
    """Wraps (z, steps counted from 0) -> raw output into (z, t) -> Denoised."""

    def denoise(z: Array, t: Array) -> Denoised:
        alpha, sigma = rates_like(process, t, z)
        return Denoised(prediction.x0(network(z, network_time(t)), z, alpha, sigma))

    return denoise
