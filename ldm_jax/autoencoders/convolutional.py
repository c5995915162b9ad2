"""The convolutional encoder and decoder that the KL and the VQ first stage share.

Rombach et al. 2022, appendix G; the network is that of Esser et al. 2021 (VQGAN).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn

from ldm_jax.autoencoders.autoencoder import Autoencoder, init_both
from ldm_jax.nn.attention import SpatialSelfAttention
from ldm_jax.nn.conv import Conv3x3
from ldm_jax.nn.dense import dense
from ldm_jax.nn.norm import group_norm
from ldm_jax.nn.resnet import Downsample, ResBlock
from ldm_jax.nn.upsample import Upsample
from ldm_jax.settings import AtLeast1, Factors, Levels, check_divides
from ldm_jax.types import Array, Params
from ldm_jax.weights.names import diffusers
from ldm_jax.weights.table import Table


@dataclass(frozen=True)
class ConvolutionalAutoencoder(Autoencoder):
    """What the KL and the VQ first stage have in common (Rombach et al. 2022, appendix G).

    The downsampling factor is 2^(len(channel_mults) - 1).
    """

    channels: AtLeast1 = 128  # of the first level
    channel_mults: Levels = (1, 2, 4, 4)  # channels of each level, in those of the first
    num_res_blocks: AtLeast1 = 2  # residual blocks of a level
    attention_factors: Factors = ()  # downsampling factors with attention
    mid_attention: bool = True  # self-attention between the two middle blocks
    z_channels: AtLeast1 = 4  # channels of the latents
    norm_groups: AtLeast1 = 32  # of group normalisation; fewer where channels are few
    compute: Literal["float32", "bfloat16"] = "float32"  # but for norms and last convolutions

    @property
    def factor(self) -> int:
        return 2 ** (len(self.channel_mults) - 1)

    def check(self, prefix: str) -> None:
        check_divides(self, "norm_groups", prefix)

    def diffusers_names(self) -> Table:
        return diffusers.names(self.original_names(), len(self.channel_mults))

    def describe(self) -> str:
        mults, factors = self.channel_mults, self.attention_factors
        places = [f"factor {factor}" for factor in factors] + ["the middle"] * self.mid_attention
        return ", ".join(
            [
                f"downsampling factor {self.factor}",
                f"{self.channels} channels times {' '.join(map(str, mults))}",
                f"{self.num_res_blocks} residual blocks a level",
                f"attention at {' and '.join(places)}" if places else "no attention",
                f"{self.z_channels} latent channels",
                f"{self.norm_groups} groups",
            ]
        )


EPSILON = 1e-6  # of every normalisation in the original autoencoder


def _res(config: ConvolutionalAutoencoder, channels: int, name: str) -> ResBlock:
    return ResBlock(channels, config.norm_groups, EPSILON, dtype=config.compute, name=name)


def _attention(config: ConvolutionalAutoencoder, name: str) -> SpatialSelfAttention:
    return SpatialSelfAttention(
        1, config.norm_groups, EPSILON, zero_init=False, dtype=config.compute, name=name
    )


def _middle(config: ConvolutionalAutoencoder, x):
    x = _res(config, x.shape[-1], "mid_res_0")(x)
    if config.mid_attention:
        x = _attention(config, "mid_attn")(x)
    return _res(config, x.shape[-1], "mid_res_1")(x)


class Encoder(nn.Module):
    """Images to what the latents are drawn from, or rounded from."""

    config: ConvolutionalAutoencoder
    outputs: int  # channels

    @nn.compact
    def __call__(self, x):
        """x [B, H, W, 3] -> [B, H / f, W / f, outputs], float32."""
        c = self.config
        h = Conv3x3(c.channels, dtype=c.compute, name="conv_in")(x)
        last = len(c.channel_mults) - 1
        for level, mult in enumerate(c.channel_mults):
            for i in range(c.num_res_blocks):
                name = f"down_{level}_res_{i}"
                h = _res(c, mult * c.channels, name)(h)
                if 2**level in c.attention_factors:
                    name = f"down_{level}_attn_{i}"
                    h = _attention(c, name)(h)
            if level < last:
                h = Downsample(((0, 1), (0, 1)), c.compute, name=f"down_{level}_downsample")(h)
        h = _middle(c, h)
        h = nn.silu(group_norm(h, c.norm_groups, EPSILON, "norm_out"))
        h = Conv3x3(self.outputs, name="conv_out")(h)
        return dense(self.outputs, "quant_conv")(h)


class Decoder(nn.Module):
    """Latents to images; the last convolution, like every norm, is float32 whatever computes."""

    config: ConvolutionalAutoencoder

    @nn.compact
    def __call__(self, z):
        """z [B, h, w, z_channels], unscaled -> [B, f h, f w, 3]."""
        c = self.config
        h = dense(c.z_channels, "post_quant_conv")(z)
        h = Conv3x3(c.channels * c.channel_mults[-1], dtype=c.compute, name="conv_in")(h)
        h = _middle(c, h)
        for level, mult in reversed(list(enumerate(c.channel_mults))):
            for i in range(c.num_res_blocks + 1):
                name = f"up_{level}_res_{i}"
                h = _res(c, mult * c.channels, name)(h)
                if 2**level in c.attention_factors:
                    name = f"up_{level}_attn_{i}"
                    h = _attention(c, name)(h)
            if level > 0:
                h = Upsample(c.compute, name=f"up_{level}_upsample")(h)
        h = nn.silu(group_norm(h, c.norm_groups, EPSILON, "norm_out"))
        return Conv3x3(3, name="conv_out")(h)


def init(encoder: Encoder, decoder: Decoder) -> Callable[[Array], Params]:
    """key -> {"encoder", "decoder"}."""
    c = decoder.config
    return init_both(encoder, decoder, (1, c.factor, c.factor, 3), (1, 1, 1, c.z_channels))
