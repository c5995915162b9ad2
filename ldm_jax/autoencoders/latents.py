"""Latents: drawn from a posterior, and scaled to about zero mean and unit variance.

Rombach et al. 2022 (appendix G) divide by one standard deviation; a shift and a scale a channel do
better where channels differ, or where their means are large relative to their standard deviations.
"""

import jax
import jax.numpy as jnp

from ldm_jax.types import Array, FirstStage, Gaussian, Params


def unit(channels: int) -> Params:
    """{"shift", "scale"}, each [channels], that leave latents as they are."""
    return {"shift": jnp.zeros(channels), "scale": jnp.ones(channels)}


def factor(channels: int, scale: float) -> Params:
    """{"shift", "scale"}, each [channels], that multiply latents by one number."""
    return {"shift": jnp.zeros(channels), "scale": jnp.full(channels, scale, jnp.float32)}


def scaled(params: Params, z: Array) -> Array:
    """(z - shift) * scale, for z [B, h, w, c] as the encoder gives it."""
    return (z - params["shift"]) * params["scale"]


def unscaled(params: Params, z: Array) -> Array:
    """The inverse of `scaled`: z [B, h, w, c] as the decoder takes it."""
    return z / params["scale"] + params["shift"]


def draw(q: Gaussian, keys: Array) -> Array:
    """One draw an example from q, by reparametrisation (Kingma and Welling 2014, section 2.4).

    Args:
        keys: [B], one key an example.
    """
    noise = jax.vmap(lambda key: jax.random.normal(key, q.mean.shape[1:]))(keys)
    return q.mean + jnp.exp(0.5 * q.log_variance) * noise


def remembered(first_stage: FirstStage, drawn: bool) -> FirstStage:
    """The first stage for training on posteriors that were encoded before.

    Instead of images it reads moments [B, h, w, 2 c], mean and log-variance before scaling, or
    [B, h, w, c], the mean alone, where latents are not `drawn`. Its scale, and how it draws and
    decodes, are as they were.
    """

    def posterior(params: Params, moments: Array) -> Gaussian:
        if not drawn:
            return Gaussian(moments, jnp.full_like(moments, -jnp.inf))
        return Gaussian(*jnp.split(moments, 2, axis=-1))

    def encode(params: Params, moments: Array, keys: Array) -> Array:
        q = posterior(params, moments)
        return scaled(params, draw(q, keys) if drawn else q.mean)

    return first_stage._replace(posterior=posterior, encode=encode)
