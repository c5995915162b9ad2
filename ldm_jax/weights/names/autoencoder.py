"""The original names of the weights of KL and VQ autoencoders (CompVis/latent-diffusion)."""

from collections import ChainMap
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ldm_jax.weights.names.layers import conv, dense, embedding, norm
from ldm_jax.weights.table import State, Table, shapes, under

Autoencoder = Any  # settings of autoencoders/, read by the names of their fields


def _res(here: str, there: str, i: int, o: int) -> Table:
    skip = dense(f"{here}/skip", f"{there}.nin_shortcut", i, o, ones=2) if i != o else []
    return [
        *norm(f"{here}/norm1", f"{there}.norm1", i),
        *conv(f"{here}/conv1", f"{there}.conv1", i, o),
        *norm(f"{here}/norm2", f"{there}.norm2", o),
        *conv(f"{here}/conv2", f"{there}.conv2", o, o),
        *skip,
    ]


def _attention(here: str, there: str, channels: int) -> Table:
    # one head, so head-major order is q, k, v side by side
    qkv = tuple(f"{there}.{name}" for name in "qkv")
    return [
        *norm(f"{here}/norm", f"{there}.norm", channels),
        *dense(f"{here}/qkv", qkv, channels, channels, ones=2),
        *dense(f"{here}/out", f"{there}.proj_out", channels, channels, ones=2),
    ]


def _middle(config: Autoencoder, channels: int) -> Table:
    attention = _attention("mid_attn", "mid.attn_1", channels)
    return [
        *_res("mid_res_0", "mid.block_1", channels, channels),
        *(attention if config.mid_attention else []),
        *_res("mid_res_1", "mid.block_2", channels, channels),
    ]


def _level(config: Autoencoder, way: str, level: int, blocks: int, i: int, o: int) -> Table:
    """The residual blocks and attentions of one level, `way` being down or up."""
    table = []
    for n in range(blocks):
        here, there = f"{way}_{level}", f"{way}.{level}"
        table += _res(f"{here}_res_{n}", f"{there}.block.{n}", o if n else i, o)
        if 2**level in config.attention_factors:
            table += _attention(f"{here}_attn_{n}", f"{there}.attn.{n}", o)
    return table


def _encoder(config: Autoencoder, moments: int) -> Table:
    channels = config.channels
    table = conv("conv_in", "conv_in", 3, channels)
    last = len(config.channel_mults) - 1
    for level, mult in enumerate(config.channel_mults):
        o = mult * config.channels
        table += _level(config, "down", level, config.num_res_blocks, channels, o)
        if level < last:
            table += conv(f"down_{level}_downsample/conv", f"down.{level}.downsample.conv", o, o)
        channels = o
    table += _middle(config, channels)
    table += norm("norm_out", "norm_out", channels)
    return table + conv("conv_out", "conv_out", channels, moments)


def _decoder(config: Autoencoder) -> Table:
    channels = config.channels * config.channel_mults[-1]
    table = conv("conv_in", "conv_in", config.z_channels, channels)
    table += _middle(config, channels)
    for level, mult in reversed(list(enumerate(config.channel_mults))):
        o = mult * config.channels
        table += _level(config, "up", level, config.num_res_blocks + 1, channels, o)
        if level > 0:
            table += conv(f"up_{level}_upsample/conv", f"up.{level}.upsample.conv", o, o)
        channels = o
    table += norm("norm_out", "norm_out", channels)
    return table + conv("conv_out", "conv_out", channels, 3)


def _autoencoder(config: Autoencoder, moments: int) -> Table:
    """Rows of an encoder with `outputs` channels, and of the decoder."""
    z = config.z_channels
    return [
        *under(_encoder(config, moments), "encoder/", "encoder."),
        *dense("encoder/quant_conv", "quant_conv", moments, moments, ones=2),
        *under(_decoder(config), "decoder/", "decoder."),
        *dense("decoder/post_quant_conv", "post_quant_conv", z, z, ones=2),
    ]


def kl_autoencoder(config: Autoencoder) -> Table:
    """Rows of the first stage that `config` describes (its "scale" belongs to no weight there)."""
    return _autoencoder(config, 2 * config.z_channels)


def vq_autoencoder(config: Autoencoder) -> Table:
    """Rows of the first stage that `config` describes, its codebook among them."""
    z = config.z_channels
    codebook = embedding("quantizer/embedding", "quantize.embedding", config.codebook_size, z)
    return [*_autoencoder(config, z), *codebook]


class Description(NamedTuple):
    """What is known of an autoencoder elsewhere, besides its weights."""

    model: Autoencoder
    image_size: int
    shift: tuple[float, ...]  # of its latents, (z - shift) * scale: a number a channel
    scale: tuple[float, ...]
    left_out: tuple[str, ...] = ()  # of QUANT_CONVS


# Stable Diffusion 3 and FLUX do without these, which is as if they were the identity.
QUANT_CONVS = ("quant_conv", "post_quant_conv")


def left_out(names: Table, keys: Iterable[str]) -> tuple[str, ...]:
    """Which of these convolutions a state dict does without: both or none, and not with a codebook.

    With a codebook no published network does without them, so there they are missing.
    """
    wanted = shapes(names)
    if "quantize.embedding.weight" in wanted or any(key.startswith(QUANT_CONVS) for key in keys):
        return ()
    return tuple(name for name in QUANT_CONVS if f"{name}.weight" in wanted)


def with_identities(names: Table, state: State, layers: tuple[str, ...]) -> State:
    """The state dict with the identity for the 1x1 convolutions that it leaves out."""
    added = {}
    for name in layers:
        weight, bias = f"{name}.weight", f"{name}.bias"
        shape = shapes(names)[weight]
        added[weight] = np.eye(shape[0], dtype=np.float32).reshape(shape)
        added[bias] = np.zeros(shape[0], np.float32)
    return ChainMap(added, state)


def identities(state: State) -> tuple[str, ...]:
    """Which of these convolutions a state dict can do without: none where it has a codebook."""
    if "quantize.embedding.weight" in state:
        return ()
    return tuple(
        name
        for name in QUANT_CONVS
        if f"{name}.weight" in state
        and _is_identity(state[f"{name}.weight"], state[f"{name}.bias"])
    )


def without(state: State, layers: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The state dict without some of its layers."""
    return {key: w for key, w in state.items() if key.rpartition(".")[0] not in layers}


def _is_identity(weight: np.ndarray, bias: np.ndarray) -> bool:
    return not bias.any() and np.array_equal(weight[:, :, 0, 0], np.eye(len(weight)))
