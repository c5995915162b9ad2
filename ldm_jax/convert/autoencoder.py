"""The original names of the KL autoencoder's weights (CompVis/latent-diffusion)."""

from ldm_jax.config import KLAutoencoder
from ldm_jax.convert.layers import conv, dense, norm
from ldm_jax.convert.table import Table, under


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


def _middle(config: KLAutoencoder, channels: int) -> Table:
    attention = _attention("mid_attn", "mid.attn_1", channels)
    return [
        *_res("mid_res_0", "mid.block_1", channels, channels),
        *(attention if config.mid_attention else []),
        *_res("mid_res_1", "mid.block_2", channels, channels),
    ]


def _level(config, way: str, level: int, blocks: int, i: int, o: int) -> Table:
    """The residual blocks and attentions of one level, `way` being down or up."""
    table = []
    for n in range(blocks):
        here, there = f"{way}_{level}", f"{way}.{level}"
        table += _res(f"{here}_res_{n}", f"{there}.block.{n}", o if n else i, o)
        if 2**level in config.attention_factors:
            table += _attention(f"{here}_attn_{n}", f"{there}.attn.{n}", o)
    return table


def _encoder(config: KLAutoencoder) -> Table:
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
    return table + conv("conv_out", "conv_out", channels, 2 * config.z_channels)


def _decoder(config: KLAutoencoder) -> Table:
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


def kl_autoencoder(config: KLAutoencoder) -> Table:
    """Rows of the first stage that `config` describes (its "scale" belongs to no weight there)."""
    z = config.z_channels
    return [
        *under(_encoder(config), "encoder/", "encoder."),
        *dense("encoder/quant_conv", "quant_conv", 2 * z, 2 * z, ones=2),
        *under(_decoder(config), "decoder/", "decoder."),
        *dense("decoder/post_quant_conv", "post_quant_conv", z, z, ones=2),
    ]
