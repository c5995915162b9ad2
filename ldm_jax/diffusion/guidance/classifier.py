"""Guidance by a classifier of noised data (Dhariwal and Nichol 2021, section 4)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.types import Array, Denoise, Denoised, Process

Network = Callable[[Array, Array], Array]  # (input, timestep [B]) -> logits [B, K]


def classify(network: Network, process: Process, z: Array, t: Array) -> Array:
    """The logits [B, K] of z_t. The input is z / sqrt(alpha^2 + sigma^2), of a size of order one
    for every process, and z itself where variance is preserved."""
    alpha, sigma = alpha_sigma_like(process, t, z)
    size = jnp.sqrt(jnp.square(alpha) + jnp.square(sigma))
    return network(z / size, process.timestep(t))


def log_probability(
    network: Network, process: Process, labels: Array
) -> Callable[[Array, Array], Array]:
    """log p(y | z_t) of classes y = `labels` [B], for `classifier`."""

    def of_labels(z: Array, t: Array) -> Array:
        logits = classify(network, process, z, t)
        return jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)[:, 0]

    return of_labels


def similarity(
    embed: Callable[[Array, Array], Array], of: Array, scale: Array | float
) -> Callable[[Array, Array], Array]:
    """scale <e, embed(z_t, t)>, in place of log p(y | z_t): how alike z_t is to a caption in the
    space of a CLIP that was trained on noised images (Nichol et al. 2022, section 2.4).

    Args:
        embed: (z [B, h, w, c], t [B]) -> [B, d] of length 1.
        of: [B, d] e, of length 1.
        scale: exp of CLIP's temperature.
    """
    return lambda z, t: scale * jnp.sum(of * embed(z, t), axis=-1)


def classifier(
    denoise: Denoise,
    process: Process,
    log_probability: Callable[[Array, Array], Array],
    scale: Array | float,
    as_score: bool = False,
) -> Denoise:
    """Towards data of which log p(y | z_t) is higher.

    Args:
        log_probability: (z [B, h, w, c], t [B]) -> log p(y | z_t) [B], each entry from its own
            example alone; differentiable.
        scale: 1 samples from p(z) p(y | z); a number or [B].
        as_score: leaves x0 as it is, and the gradient to the sampler's steps (algorithm 1).
    """

    def guided(z: Array, t: Array) -> Denoised:
        output = denoise(z, t)
        gradient = jax.grad(lambda z: jnp.sum(log_probability(z, t)))(z)
        gradient *= jnp.reshape(scale, (-1,) + (1,) * (z.ndim - 1))
        if as_score:
            return output._replace(score=gradient)
        return output._replace(x0=output.x0 + x0_of_score(process, gradient, t))

    return guided


def x0_of_score(process: Process, score: Array, t: Array) -> Array:
    """The change of x0 for a change `score` of z_t's score: sigma^2 / alpha times it.

    Algorithm 2 subtracts sigma times the gradient from eps, and x0 = (z - sigma eps) / alpha. Where
    alpha is 0, z does not depend on the data, nor on y: no change.
    """
    alpha, sigma = alpha_sigma_like(process, t, score)
    safe = jnp.where(alpha > 0.0, alpha, 1.0)
    return jnp.where(alpha > 0.0, jnp.square(sigma) / safe * score, 0.0)


def clean_score(
    denoise: Denoise, process: Process, score: Callable[[Array], Array], scale: Array | float
) -> Denoise:
    """Towards data with a higher score, such as CLIP's, by its gradient through the denoiser.

    Nichol et al. 2022, section 2.4; on the predicted x0 as in Bansal et al. 2023, eq. 6.
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
