"""The original names of the UNet's weights (CompVis/latent-diffusion)."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ldm_jax.weights.names.layers import conv, dense, embedding, norm
from ldm_jax.weights.table import Table

UNet = Any  # settings of a denoiser, or of half of one, read by the names of their fields


def _res(here: str, there: str, i: int, o: int, time: int, projected: int) -> Table:
    """A residual block; `projected` values are its projection of the timestep embedding."""
    skip = dense(f"{here}/skip", f"{there}.skip_connection", i, o, ones=2) if i != o else []
    return [
        *norm(f"{here}/norm1", f"{there}.in_layers.0", i),
        *conv(f"{here}/conv1", f"{there}.in_layers.2", i, o),
        *dense(f"{here}/embedding", f"{there}.emb_layers.1", time, projected),
        *norm(f"{here}/norm2", f"{there}.out_layers.0", o),
        *conv(f"{here}/conv2", f"{there}.out_layers.3", o, o),
        *skip,
    ]


def _attention_block(here: str, there: str, channels: int, context: int | None) -> Table:
    tokens = f"{here}/context", f"{there}.encoder_kv"
    return [
        *norm(f"{here}/norm", f"{there}.norm", channels),
        *dense(f"{here}/qkv", f"{there}.qkv", channels, 3 * channels, ones=1),
        *(dense(*tokens, context, 2 * channels, ones=1) if context else []),
        *dense(f"{here}/out", f"{there}.proj_out", channels, channels, ones=1),
    ]


def _cross_attention(here: str, there: str, channels: int, context: int) -> Table:
    return [
        *dense(f"{here}/q", f"{there}.to_q", channels, channels, bias=False),
        *dense(f"{here}/k", f"{there}.to_k", context, channels, bias=False),
        *dense(f"{here}/v", f"{there}.to_v", context, channels, bias=False),
        *dense(f"{here}/out", f"{there}.to_out.0", channels, channels),
    ]


def _transformer_block(
    here: str, there: str, channels: int, context: int, cross_only: bool
) -> Table:
    first = context if cross_only else channels
    return [
        *norm(f"{here}/norm1", f"{there}.norm1", channels),
        *_cross_attention(f"{here}/self", f"{there}.attn1", channels, first),
        *norm(f"{here}/norm2", f"{there}.norm2", channels),
        *_cross_attention(f"{here}/cross", f"{there}.attn2", channels, context),
        *norm(f"{here}/norm3", f"{there}.norm3", channels),
        *dense(f"{here}/ff/in", f"{there}.ff.net.0.proj", channels, 8 * channels),
        *dense(f"{here}/ff/out", f"{there}.ff.net.2", 4 * channels, channels),
    ]


def _spatial_transformer(
    here: str, there: str, config: UNet, channels: int, context: int, cross_only: bool
) -> Table:
    ones = 0 if config.linear_projections else 2
    table = norm(f"{here}/norm", f"{there}.norm", channels)
    table += dense(f"{here}/in", f"{there}.proj_in", channels, channels, ones)
    for n in range(config.transformer_depth):
        names = f"{here}/block_{n}", f"{there}.transformer_blocks.{n}"
        table += _transformer_block(*names, channels, context, cross_only)
    return table + dense(f"{here}/out", f"{there}.proj_out", channels, channels, ones)


class _Blocks(NamedTuple):
    """Rows of what levels are made of, by their names here and there."""

    res: Callable[[str, str, int, int], Table]  # channels in and out
    attend: Callable[..., Table]  # channels, downsampling factor
    resample: Callable[[str, str, str, int], Table]  # name of the convolution there, channels


def _blocks(config: UNet, context: int | None) -> _Blocks:
    def res(here, there, i, o):
        time = 4 * config.channels
        return _res(here, there, i, o, time, 2 * o if config.scale_shift else o)

    def attend(here, there, channels, factor=None):
        if context is None or config.joint_attention:
            return _attention_block(here, there, channels, context)
        cross_only = factor in config.cross_only_factors
        return _spatial_transformer(here, there, config, channels, context, cross_only)

    def resample(here, there, conv_name, channels):
        if config.resample_blocks:
            return res(here, there, channels, channels)
        return conv(f"{here}/conv", f"{there}.{conv_name}", channels, channels)

    return _Blocks(res, attend, resample)


def unet(config: UNet, in_channels: int, out_channels: int, context: int | None) -> Table:
    """Rows of the denoiser that `config` describes.

    Args:
        in_channels: of z and of what is concatenated to it.
        context: width of the tokens it attends to; None: plain self-attention.
    """
    blocks = _blocks(config, context)
    _, skips = _down(config, in_channels, blocks)
    table = [*half(config, in_channels, context), *_up(config, skips, blocks)]
    channels = config.channels * config.channel_mults[0]
    table += norm("norm_out", "out.0", channels)
    return table + conv("conv_out", "out.2", channels, out_channels)


def half(config: UNet, in_channels: int, context: int | None = None) -> Table:
    """Rows of a denoiser's encoder and middle; see `unet`."""
    blocks, time = _blocks(config, context), 4 * config.channels
    table = dense("time_1", "time_embed.0", config.channels, time)
    table += dense("time_2", "time_embed.2", time, time)
    if getattr(config, "vector_dim", None):
        table += dense("vector_1", "label_emb.0.0", config.vector_dim, time)
        table += dense("vector_2", "label_emb.0.2", time, time)
    if getattr(config, "vector_entries", None):
        table += embedding("vector/embedding", "label_emb", config.vector_entries, time)
    return [*table, *_down(config, in_channels, blocks)[0], *_middle(config, blocks)]


def _down(config: UNet, in_channels: int, blocks: _Blocks) -> tuple[Table, list[int]]:
    """Rows of the encoder, and the channels of its outputs in order."""
    table = conv("conv_in", "input_blocks.0.0", in_channels, config.channels)
    # the original numbers blocks through all the levels; a downsampling has a number of its own
    channels, skips = config.channels, [config.channels]
    last = len(config.channel_mults) - 1
    for level, mult in enumerate(config.channel_mults):
        o = mult * config.channels
        for n in range(config.num_res_blocks):
            here, there = f"down_{level}", f"input_blocks.{len(skips)}"
            table += blocks.res(f"{here}_res_{n}", f"{there}.0", channels, o)
            if 2**level in config.attention_factors:
                table += blocks.attend(f"{here}_attn_{n}", f"{there}.1", o, 2**level)
            channels = o
            skips.append(channels)
        if level < last:
            there = f"input_blocks.{len(skips)}.0"
            table += blocks.resample(f"down_{level}_downsample", there, "op", channels)
            skips.append(channels)
    return table, skips


def _middle(config: UNet, blocks: _Blocks) -> Table:
    channels = config.channels * config.channel_mults[-1]
    table = blocks.res("mid_res_0", "middle_block.0", channels, channels)
    attends = getattr(config, "mid_attention", True)
    if attends:
        table += blocks.attend("mid_attn", "middle_block.1", channels)
    return table + blocks.res("mid_res_1", f"middle_block.{1 + attends}", channels, channels)


def _up(config: UNet, skips: list[int], blocks: _Blocks) -> Table:
    """Rows of the decoder; an upsampling is the last member of the block before it."""
    table, number, channels, skips = [], 0, skips[-1], list(skips)
    for level, mult in reversed(list(enumerate(config.channel_mults))):
        o = mult * config.channels
        attends = 2**level in config.attention_factors
        for n in range(config.num_res_blocks + 1):
            here, there = f"up_{level}", f"output_blocks.{number}"
            table += blocks.res(f"{here}_res_{n}", f"{there}.0", channels + skips.pop(), o)
            if attends:
                table += blocks.attend(f"{here}_attn_{n}", f"{there}.1", o, 2**level)
            channels = o
            number += 1
        if level > 0:
            there = f"output_blocks.{number - 1}.{2 if attends else 1}"
            table += blocks.resample(f"up_{level}_upsample", there, "conv", channels)
    return table
