"""The original names of the UNet's weights (CompVis/latent-diffusion)."""

from ldm_jax.config import UNet
from ldm_jax.convert.layers import conv, dense, norm
from ldm_jax.convert.table import Table


def _res(here: str, there: str, i: int, o: int, time: int) -> Table:
    skip = dense(f"{here}/skip", f"{there}.skip_connection", i, o, ones=2) if i != o else []
    return [
        *norm(f"{here}/norm1", f"{there}.in_layers.0", i),
        *conv(f"{here}/conv1", f"{there}.in_layers.2", i, o),
        *dense(f"{here}/embedding", f"{there}.emb_layers.1", time, o),
        *norm(f"{here}/norm2", f"{there}.out_layers.0", o),
        *conv(f"{here}/conv2", f"{there}.out_layers.3", o, o),
        *skip,
    ]


def _attention_block(here: str, there: str, channels: int) -> Table:
    return [
        *norm(f"{here}/norm", f"{there}.norm", channels),
        *dense(f"{here}/qkv", f"{there}.qkv", channels, 3 * channels, ones=1),
        *dense(f"{here}/out", f"{there}.proj_out", channels, channels, ones=1),
    ]


def _cross_attention(here: str, there: str, channels: int, context: int) -> Table:
    return [
        *dense(f"{here}/q", f"{there}.to_q", channels, channels, bias=False),
        *dense(f"{here}/k", f"{there}.to_k", context, channels, bias=False),
        *dense(f"{here}/v", f"{there}.to_v", context, channels, bias=False),
        *dense(f"{here}/out", f"{there}.to_out.0", channels, channels),
    ]


def _transformer_block(here: str, there: str, channels: int, context: int) -> Table:
    return [
        *norm(f"{here}/norm1", f"{there}.norm1", channels),
        *_cross_attention(f"{here}/self", f"{there}.attn1", channels, channels),
        *norm(f"{here}/norm2", f"{there}.norm2", channels),
        *_cross_attention(f"{here}/cross", f"{there}.attn2", channels, context),
        *norm(f"{here}/norm3", f"{there}.norm3", channels),
        *dense(f"{here}/ff/in", f"{there}.ff.net.0.proj", channels, 8 * channels),
        *dense(f"{here}/ff/out", f"{there}.ff.net.2", 4 * channels, channels),
    ]


def _spatial_transformer(here: str, there: str, channels: int, context: int, depth: int) -> Table:
    table = norm(f"{here}/norm", f"{there}.norm", channels)
    table += dense(f"{here}/in", f"{there}.proj_in", channels, channels, ones=2)
    for n in range(depth):
        block = f"{there}.transformer_blocks.{n}"
        table += _transformer_block(f"{here}/block_{n}", block, channels, context)
    return table + dense(f"{here}/out", f"{there}.proj_out", channels, channels, ones=2)


def unet(config: UNet, in_channels: int, out_channels: int, context: int | None) -> Table:
    """Rows of the denoiser that `config` describes.

    Args:
        context: width of the tokens it attends to; None: plain self-attention.
    """
    time = 4 * config.channels

    def attend(here, there, channels):
        if context is None:
            return _attention_block(here, there, channels)
        return _spatial_transformer(here, there, channels, context, config.transformer_depth)

    table = dense("time_1", "time_embed.0", config.channels, time)
    table += dense("time_2", "time_embed.2", time, time)
    table += conv("conv_in", "input_blocks.0.0", in_channels, config.channels)

    # the original numbers blocks through all the levels; a downsampling has a number of its own
    channels, skips = config.channels, [config.channels]
    last = len(config.channel_mults) - 1
    for level, mult in enumerate(config.channel_mults):
        o = mult * config.channels
        for n in range(config.num_res_blocks):
            here, there = f"down_{level}", f"input_blocks.{len(skips)}"
            table += _res(f"{here}_res_{n}", f"{there}.0", channels, o, time)
            if 2**level in config.attention_factors:
                table += attend(f"{here}_attn_{n}", f"{there}.1", o)
            channels = o
            skips.append(channels)
        if level < last:
            there = f"input_blocks.{len(skips)}.0.op"
            table += conv(f"down_{level}_downsample/conv", there, channels, channels)
            skips.append(channels)

    table += _res("mid_res_0", "middle_block.0", channels, channels, time)
    table += attend("mid_attn", "middle_block.1", channels)
    table += _res("mid_res_1", "middle_block.2", channels, channels, time)

    # an upsampling is the last member of the block before it
    number = 0
    for level, mult in reversed(list(enumerate(config.channel_mults))):
        o = mult * config.channels
        attends = 2**level in config.attention_factors
        for n in range(config.num_res_blocks + 1):
            here, there = f"up_{level}", f"output_blocks.{number}"
            table += _res(f"{here}_res_{n}", f"{there}.0", channels + skips.pop(), o, time)
            if attends:
                table += attend(f"{here}_attn_{n}", f"{there}.1", o)
            channels = o
            number += 1
        if level > 0:
            there = f"output_blocks.{number - 1}.{2 if attends else 1}.conv"
            table += conv(f"up_{level}_upsample/conv", there, channels, channels)

    table += norm("norm_out", "out.0", channels)
    return table + conv("conv_out", "out.2", channels, out_channels)
