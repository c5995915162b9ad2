"""This side of the comparison: our networks, as functions of arrays laid out as the original's."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ldm_jax.autoencoders.latents import unit
from ldm_jax.autoencoders.quantizer import codes_of
from ldm_jax.backbones.classifier import ClassifierModule
from ldm_jax.backbones.unet import UNetModule
from ldm_jax.encoders.clip.text import CLIPTextEncoder
from ldm_jax.encoders.transformer import TextTransformer
from ldm_jax.types import Cond


class Network(NamedTuple):
    """init: inputs -> params;  call: (params, inputs) -> outputs, both dicts by name."""

    init: Callable
    call: Callable


def channels_last(x):
    """[B, C, H, W] -> [B, H, W, C]."""
    return jnp.moveaxis(x, 1, -1)


def channels_first(x):
    """[B, H, W, C] -> [B, C, H, W]."""
    return jnp.moveaxis(x, -1, 1)


def autoencoder(config) -> Network:
    """image -> the moments, and the decoding of their mean."""
    first_stage = config.build()

    def init(inputs):
        params = first_stage.init(jax.random.key(0))
        return {name: params[name] for name in ("encoder", "decoder")}

    def call(params, inputs):
        params = params | unit(config.z_channels)
        q = first_stage.posterior(params, channels_last(inputs["image"]))
        moments = jnp.concatenate([q.mean, q.log_variance], axis=-1)
        recon = first_stage.decode(params, q.mean)
        return {"moments": channels_first(moments), "recon": channels_first(recon)}

    return Network(init, call)


def quantised(config) -> Network:
    """image -> latents before they are rounded, their codes, and the decoding of these."""
    first_stage = config.build()

    def init(inputs):
        params = first_stage.init(jax.random.key(0))
        return {name: params[name] for name in first_stage.parts}

    def call(params, inputs):
        params = params | unit(config.z_channels)
        h = first_stage.posterior(params, channels_last(inputs["image"])).mean
        indices = codes_of(h, params["quantizer"]["embedding"]).reshape(-1)
        recon = channels_first(first_stage.decode(params, h))
        return {"h": channels_first(h), "indices": indices, "recon": recon}

    return Network(init, call)


def tiny(config) -> Network:
    """image -> latents, and z -> an image."""
    first_stage = config.build()

    def init(inputs):
        params = first_stage.init(jax.random.key(0))
        return {name: params[name] for name in first_stage.parts}

    def call(params, inputs):
        params = params | unit(config.z_channels)
        q = first_stage.posterior(params, channels_last(inputs["image"]))
        decoded = first_stage.decode(params, channels_last(inputs["z"]))
        return {"latents": channels_first(q.mean), "decoded": channels_first(decoded)}

    return Network(init, call)


def denoiser(config, out_channels: int) -> Network:
    """x, t, and context and vector where there are such -> y, one call of the UNet."""

    unet = UNetModule(config, out_channels)

    def arguments(inputs):
        cond = Cond(tokens=inputs.get("context"), vector=inputs.get("vector"))
        return channels_last(inputs["x"]), inputs["t"], cond

    def init(inputs):
        return unet.init(jax.random.key(0), *arguments(inputs))["params"]

    def call(params, inputs):
        return {"y": channels_first(unet.apply({"params": params}, *arguments(inputs)))}

    return Network(init, call)


def classifier(config, num_classes: int) -> Network:
    """x, t -> logits."""
    network = ClassifierModule(config, num_classes)

    def init(inputs):
        return network.init(jax.random.key(0), channels_last(inputs["x"]), inputs["t"])["params"]

    def call(params, inputs):
        return {
            "logits": network.apply({"params": params}, channels_last(inputs["x"]), inputs["t"])
        }

    return Network(init, call)


def text_transformer(config) -> Network:
    """ids -> tokens."""
    return _of_ids(TextTransformer(config, config.vocab_size))


def text_encoder(config) -> Network:
    """ids -> tokens, by CLIP."""
    encoder = CLIPTextEncoder(
        vocab_size=config.vocab_size,
        dim=config.dim,
        layers=config.layers,
        heads=config.num_heads,
        length=config.length,
        weights=config.weights,
    )
    return _of_ids(encoder)


def _of_ids(module) -> Network:
    return Network(
        lambda inputs: module.init(jax.random.key(0), inputs["ids"])["params"],
        lambda params, inputs: {"tokens": module.apply({"params": params}, inputs["ids"])},
    )
